package manifest

// Behind reports whether the end of a manifest is lost, by what files there are beside it: strays are segments that it does not
// name, missing those that it names without a file, logFirst is the lowest sequence that the log may still hold. The log's frames go when
// their segment was entered, and the inputs of a compaction when its result was: where they are gone, it was.
func Behind(strays, missing []Entry, through, logFirst uint64) bool {
	for _, s := range strays {
		if s.First > through && s.First < logFirst {
			return true
		}
		for _, m := range missing {
			if s.Hour == m.Hour && s.First <= m.First && m.Last <= s.Last && m.First != 0 {
				return true
			}
		}
	}
	return false
}
