package policy

import (
	"time"

	"github.com/spanloom/spanloom/store/local/internal/manifest"
)

// Forecast is what the disk limit will mean if spans go on coming as they did lately.
type Forecast struct {
	PerHour int64 // bytes of segments an hour, over the last day or as long as there are some
	// Full is when the limit is reached and the oldest segments go by size, from now: 0 if that is so already, negative if never.
	Full time.Duration
	// Holds is how long spans will be held then: Retention, or less where the limit is reached first. Negative: for ever.
	Holds time.Duration
}

// Never is a Forecast's duration without end.
const Never = time.Duration(-1)

// lately is the time that a forecast looks back on: a day, so that nights count.
const lately = 24 * time.Hour

// farthest is as far as a forecast looks: beyond, nobody knows the rate.
const farthest = 20 * 365 * 24 * time.Hour

// ForecastOf looks ahead hour by hour: what comes at the present rate is added, what retention takes is taken off.
// Cost: a step an hour, until the limit, the retention or twenty years.
func ForecastOf(entries []manifest.Entry, l Limits, u Use, now time.Time) Forecast {
	f := Forecast{PerHour: rate(entries, now), Full: Never, Holds: Never}
	if l.Retention > 0 {
		f.Holds = l.Retention
	}
	if l.MaxDisk <= 0 {
		return f
	}
	room := max(0, l.MaxDisk-u.bytes())
	used := Bytes(entries)
	if used > room {
		f.Full = 0
	}
	if f.PerHour == 0 {
		return f
	}
	if holds := hours(room, f.PerHour); f.Holds == Never || holds < f.Holds {
		f.Holds = holds
	} else if used <= room { // not even retention as a whole fills the disk
		return f
	}
	if f.Full == 0 {
		return f
	}
	f.Full = fullAfter(entries, l, room-used, f.PerHour, now)
	return f
}

// hours is how long a rate takes to fill some room, at most farthest.
func hours(room, perHour int64) time.Duration {
	if n := room / perHour; n < int64(farthest/time.Hour) {
		return time.Duration(float64(room) / float64(perHour) * float64(time.Hour))
	}
	return farthest
}

// fullAfter is when the room is used up, retention considered.
func fullAfter(entries []manifest.Entry, l Limits, room, perHour int64, now time.Time) time.Duration {
	goes := make(map[int64]int64) // bytes by the hour from now in which retention takes them
	if l.Retention > 0 {
		for _, e := range entries {
			goes[int64(max(0, end(e).Add(l.Retention).Sub(now))/time.Hour)] += e.Bytes
		}
	}
	for h := int64(0); h < int64(farthest/time.Hour); h++ {
		if l.Retention > 0 && h >= int64(l.Retention/time.Hour)+1 {
			return Never // all that is there is what came since: it holds its level
		}
		if room += goes[h]; room < perHour {
			return time.Duration(h)*time.Hour + hours(room, perHour)
		}
		room -= perHour
	}
	return Never
}

// rate is the bytes an hour that came lately.
func rate(entries []manifest.Entry, now time.Time) int64 {
	since := now.Add(-lately)
	first, bytes := now.UnixNano(), int64(0)
	for _, e := range entries {
		if time.Unix(0, e.MinReceived).Before(since) {
			continue
		}
		bytes += e.Bytes
		first = min(first, e.MinReceived)
	}
	over := max(now.Sub(time.Unix(0, first)), time.Hour)
	return int64(float64(bytes) / over.Hours())
}
