package local

// clean lets go of what retention, memory and the disk limit say is to go. Kept traces are written again first where rows
// came since: their frames may go with a file.
func (e *Engine) clean() error {
	e.housework.Lock()
	defer e.housework.Unlock()
	oldest := e.oldest()
	if oldest > 0 {
		e.mem.Expire(oldest, e.now().Add(-chunkAge).UnixNano())
	}
	if err := e.drop(oldest); err != nil {
		return err
	}
	// Where the next file would not fit below the disk limit, the oldest one goes, and from memory what is as old.
	for {
		s := e.wal.Stats()
		newest, _, ok := e.wal.Oldest()
		if !ok || s.Bytes+e.maxFile <= e.limitLog() {
			return nil
		}
		e.mem.Expire(newest+1, newest+1)
		before := s.Files
		if err := e.drop(newest + 1); err != nil {
			return err
		}
		if e.wal.Stats().Files == before { // its rows are just being put into memory
			return nil
		}
	}
}

// drop removes log files without rows in memory, and those of rows received before oldest.
func (e *Engine) drop(oldest int64) error {
	// Rows from here on are in the log. Older ones that are kept are in memory and thereby found by refresh, so the order counts.
	lowest := e.mem.LowestSeq()
	if err := e.kept.refresh(); err != nil {
		return err
	}
	_, err := e.wal.DropBefore(lowest, oldest)
	return err
}

// limitLog gives the log what kept traces and documents leave of the disk limit, and says how much that is.
func (e *Engine) limitLog() int64 {
	n := max(1, e.o.MaxDisk-e.kept.bytes()-e.docs.bytes())
	e.wal.SetMaxBytes(n)
	return n
}
