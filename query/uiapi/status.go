package uiapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/spanloom/spanloom/store"
)

// Instant is nanoseconds since the epoch; in JSON a decimal string.
type Instant int64

// MarshalJSON writes the decimal string.
func (t Instant) MarshalJSON() ([]byte, error) {
	return append(strconv.AppendInt([]byte{'"'}, int64(t), 10), '"'), nil
}

// At is an instant's API form; the zero time is 0, which is left out where the document says "absent".
func At(t time.Time) Instant {
	if t.IsZero() {
		return 0
	}
	return Instant(t.UnixNano())
}

// Receipt is what one workload delivered by one protocol.
type Receipt struct {
	Workload        string           `json:"workload"`
	Sender          string           `json:"sender,omitempty"`
	Protocol        string           `json:"protocol"`
	Spans           int64            `json:"spans"`
	Requests        int64            `json:"requests"`
	SpansPerRequest float64          `json:"spansPerRequest"` // set here
	LastTime        Instant          `json:"lastTime"`
	Refused         map[string]int64 `json:"refused"`
	Misuses         map[string]int64 `json:"misuses"`
}

// Reject is a rejected body.
type Reject struct {
	Time     Instant `json:"time"`
	Sender   string  `json:"sender"`
	Protocol string  `json:"protocol"`
	Reason   string  `json:"reason"`
	Message  string  `json:"message"`
	Bytes    int64   `json:"bytes"`
	Head     string  `json:"head"`
}

// Status is the answer of /status.
type Status struct {
	Version   string        `json:"version"`
	Commit    string        `json:"commit"`
	Uptime    time.Duration `json:"uptime"`
	Now       Instant       `json:"now"`
	Receivers []Receiver    `json:"receivers"`
	Store     StoreStatus   `json:"store"`
	Listeners []Listener    `json:"listeners"`

	Forward *ForwardStatus `json:"forward,omitempty"`
}

// ForwardStatus is the copies for other backends.
type ForwardStatus struct {
	Bytes      int64           `json:"bytes"`      // of the log they wait in
	LimitBytes int64           `json:"limitBytes"` // at which the oldest go
	Damaged    []string        `json:"damaged,omitempty"`
	Targets    []ForwardTarget `json:"targets"`
}

// ForwardTarget is one of these backends. Counts are since the start.
type ForwardTarget struct {
	Name            string  `json:"name"`
	Address         string  `json:"address"`
	Spans           int64   `json:"spans"`            // that wait
	Oldest          Instant `json:"oldest,omitempty"` // receipt of the oldest of these
	SentSpans       int64   `json:"sentSpans"`
	RefusedSpans    int64   `json:"refusedSpans"`
	DroppedSpans    int64   `json:"droppedSpans"`
	UnreadableSpans int64   `json:"unreadableSpans"`
	Failures        int64   `json:"failures"`
	LastError       string  `json:"lastError,omitempty"`
	FailedAt        Instant `json:"failedAt,omitempty"`
	LastRefusal     string  `json:"lastRefusal,omitempty"`
}

// Receiver is one protocol's door.
type Receiver struct {
	Protocol       string           `json:"protocol"`
	Address        string           `json:"address"`
	SpansPerSecond float64          `json:"spansPerSecond"`
	Spans          int64            `json:"spans"`
	LastTime       Instant          `json:"lastTime,omitempty"`
	Refused        map[string]int64 `json:"refused"`
	Misuses        map[string]int64 `json:"misuses,omitempty"`
}

// StoreStatus is the engine's state.
type StoreStatus struct {
	Kind          string         `json:"kind"`
	Spans         int64          `json:"spans"`
	Traces        int64          `json:"traces"`
	Bytes         int64          `json:"bytes"`
	LimitBytes    int64          `json:"limitBytes"`
	DiskBytes     int64          `json:"diskBytes"`
	Segments      *SegmentStatus `json:"segments,omitempty"`
	Queue         *QueueStatus   `json:"queue,omitempty"`
	Bucket        *BucketStatus  `json:"bucket,omitempty"`
	EvictedTraces int64          `json:"evictedTraces"`
	Oldest        Instant        `json:"oldest,omitempty"`
	Refusing      string         `json:"refusing,omitempty"`
	Damaged       []string       `json:"damaged,omitempty"`
}

// QueueStatus is what waits before a remote engine.
type QueueStatus struct {
	Spans           int64   `json:"spans"`
	HiddenSpans     int64   `json:"hiddenSpans"` // of these, not readable before they are sent
	Bytes           int64   `json:"bytes"`
	LimitBytes      int64   `json:"limitBytes"`
	Oldest          Instant `json:"oldest,omitempty"` // receipt of the oldest span that waits
	SentSpans       int64   `json:"sentSpans"`
	Failures        int64   `json:"failures"`
	LastError       string  `json:"lastError,omitempty"`
	FailedAt        Instant `json:"failedAt,omitempty"`
	PoisonSpans     int64   `json:"poisonSpans"`
	PoisonFile      string  `json:"poisonFile,omitempty"` // the newest file of spans that were set aside
	UnreadableSpans int64   `json:"unreadableSpans"`
}

// BucketStatus is what an engine has in object storage.
type BucketStatus struct {
	Address         string  `json:"address"`
	ReadOnly        bool    `json:"readOnly"`
	Generation      uint64  `json:"generation"`
	Segments        int     `json:"segments"`
	Bytes           int64   `json:"bytes"`
	FarSegments     int     `json:"farSegments"` // of these, not on the disk too
	WaitingSegments int     `json:"waitingSegments"`
	WaitingBytes    int64   `json:"waitingBytes"`
	Since           Instant `json:"since,omitempty"` // receipt of the oldest span that is not in the bucket
	Uploads         int64   `json:"uploads"`
	Failures        int64   `json:"failures"`
	LastError       string  `json:"lastError,omitempty"`
	FailedAt        Instant `json:"failedAt,omitempty"`
	CheckedAt       Instant `json:"checkedAt,omitempty"`
	Lost            string  `json:"lost,omitempty"`
	CacheBytes      int64   `json:"cacheBytes"`
	CacheHits       int64   `json:"cacheHits"`
	Fetches         int64   `json:"fetches"`
	FetchedBytes    int64   `json:"fetchedBytes"`
}

func bucketStatusOf(b *store.BucketStats) *BucketStatus {
	if b == nil {
		return nil
	}
	return &BucketStatus{Address: b.Address, ReadOnly: b.ReadOnly, Generation: b.Generation, Segments: b.Segments, Bytes: b.Bytes, FarSegments: b.Far,
		WaitingSegments: b.WaitingSegments, WaitingBytes: b.WaitingBytes, Since: Instant(b.Since), Uploads: b.Uploads, Failures: b.Failures, LastError: b.LastError,
		FailedAt: Instant(b.FailedAt), CheckedAt: Instant(b.CheckedAt), Lost: b.Lost, CacheBytes: b.CacheBytes, CacheHits: b.CacheHits, Fetches: b.Fetches,
		FetchedBytes: b.FetchedBytes}
}

func queueStatusOf(s *store.QueueStats) *QueueStatus {
	if s == nil {
		return nil
	}
	return &QueueStatus{Spans: s.Spans, HiddenSpans: s.HiddenSpans, Bytes: s.Bytes, LimitBytes: s.LimitBytes, Oldest: Instant(s.Oldest), SentSpans: s.SentSpans,
		Failures: s.Failures, LastError: s.LastError, FailedAt: Instant(s.FailedAt), PoisonSpans: s.PoisonSpans, PoisonFile: s.PoisonFile, UnreadableSpans: s.UnreadableSpans}
}

// SegmentStatus is the files of an engine that has some.
type SegmentStatus struct {
	Files        int          `json:"files"`
	Bytes        int64        `json:"bytes"`
	BytesPerHour int64        `json:"bytesPerHour"`
	DueBytes     int64        `json:"dueBytes"`
	FullInNs     int64        `json:"fullInNs"` // negative: never
	HoldsNs      int64        `json:"holdsNs"`  // negative: for ever
	Questions    int64        `json:"questions"`
	BlocksRead   int64        `json:"blocksRead"`
	BlocksPassed int64        `json:"blocksPassed"`
	Hours        []HourStatus `json:"hours"`
}

// HourStatus is what was received in an hour and is still there.
type HourStatus struct {
	Hour  Instant `json:"hour"` // its beginning
	Spans int64   `json:"spans"`
	Bytes int64   `json:"bytes"`
}

func segmentStatusOf(s *store.Segments) *SegmentStatus {
	if s == nil {
		return nil
	}
	out := &SegmentStatus{Files: s.Files, Bytes: s.Bytes, BytesPerHour: s.BytesPerHour, DueBytes: s.DueBytes, FullInNs: int64(s.FullIn),
		HoldsNs: int64(s.Holds), Questions: s.Questions, BlocksRead: s.Blocks, BlocksPassed: s.Passed, Hours: []HourStatus{}}
	for _, h := range s.Hours {
		out.Hours = append(out.Hours, HourStatus{Instant(h.Hour * int64(time.Hour)), h.Spans, h.Bytes})
	}
	return out
}

// StoreStatusOf is an engine's figures in the API's form.
func StoreStatusOf(s store.Stats) StoreStatus {
	return StoreStatus{
		Segments: segmentStatusOf(s.Segments), Queue: queueStatusOf(s.Queue), Bucket: bucketStatusOf(s.Bucket),
		Kind: s.Kind, Spans: s.Spans, Traces: s.Traces, Bytes: s.Bytes, LimitBytes: s.LimitBytes, DiskBytes: s.DiskBytes,
		EvictedTraces: s.EvictedTraces, Oldest: Instant(s.Oldest), Refusing: s.Refusing, Damaged: s.Damaged,
	}
}

// Listener is one open address.
type Listener struct {
	Name          string `json:"name"`
	Address       string `json:"address"`
	TLS           bool   `json:"tls"`
	Authenticated bool   `json:"authenticated"`
}

func (a *api) receipts(c *call) error {
	r, err := c.window()
	if err != nil {
		return err
	}
	items, err := a.Receipts.Receipts(c.ctx, time.Unix(0, r.From), time.Unix(0, r.To))
	if err != nil {
		return err
	}
	for i := range items {
		x := &items[i]
		if x.Requests > 0 {
			x.SpansPerRequest = float64(x.Spans) / float64(x.Requests)
		}
		x.Refused, x.Misuses = orEmpty(x.Refused), orEmpty(x.Misuses)
	}
	return sendJSON(c, struct {
		Items   []Receipt `json:"items"`
		Rejects []Reject  `json:"rejects"`
	}{append([]Receipt{}, items...), append([]Reject{}, a.Receipts.Rejects()...)})
}

func (a *api) status(c *call) error {
	s := a.Status(c.ctx)
	s.Receivers, s.Listeners = append([]Receiver{}, s.Receivers...), append([]Listener{}, s.Listeners...)
	for i := range s.Receivers {
		s.Receivers[i].Refused = orEmpty(s.Receivers[i].Refused)
	}
	return sendJSON(c, s)
}

func orEmpty(m map[string]int64) map[string]int64 {
	if m == nil {
		return map[string]int64{}
	}
	return m
}

// sendJSON is for small answers.
func sendJSON(c *call, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	send(c.w, c.r, http.StatusOK, body)
	return nil
}
