package clickhouse

// Seal ends the open window, so that it is written at once.
func (e *Engine) Seal() { e.rolls.sealOld(0) }
