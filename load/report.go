package load

import (
	"fmt"
	"io"
	"time"
)

// SendReport is what Send did. Durations are nanoseconds in JSON.
type SendReport struct {
	Protocol        Protocol      `json:"protocol"`
	Target          string        `json:"target"`
	SpansPerRequest int           `json:"spansPerRequest"`
	Connections     int           `json:"connections"`
	Rate            float64       `json:"rate"` // asked for; 0 is a closed loop
	Traces          uint64        `json:"traces"`
	Spans           int64         `json:"spans"`    // generated
	Accepted        int64         `json:"accepted"` // of these, with an answer that says so
	Refused         int64         `json:"refused"`  // for good, partial success included
	Retried         int64         `json:"retried"`  // requests sent again
	Requests        int64         `json:"requests"`
	Bytes           int64         `json:"bytes"` // of bodies
	Wall            time.Duration `json:"wall"`
	SpansPerSecond  float64       `json:"spansPerSecond"`
	MostBehind      time.Duration `json:"mostBehind"` // of a paced run against its plan
	ClientCPU       time.Duration `json:"clientCpu"`
	Server          *ServerUsage  `json:"server,omitempty"`
	Size            Size          `json:"size"`
	Manifest        string        `json:"manifest,omitempty"`
	Complaints      []string      `json:"complaints,omitempty"` // what receivers said to requests they did not take whole, at most 5
}

// ServerUsage is what the server's process spent while it was sent to, between encoding pauses included.
type ServerUsage struct {
	CPU           time.Duration `json:"cpu"`
	MicrosPerSpan float64       `json:"microsPerSpan"` // CPU µs for each accepted span
	RSS           int64         `json:"rss"`           // bytes at the end
	PeakRSS       int64         `json:"peakRss"`       // bytes, since the process started
}

func (r *SendReport) server(before, after Usage) {
	s := &ServerUsage{CPU: after.CPU - before.CPU, RSS: after.RSS, PeakRSS: after.PeakRSS}
	if r.Accepted > 0 {
		s.MicrosPerSpan = float64(s.CPU.Microseconds()) / float64(r.Accepted)
	}
	r.Server = s
}

func (r *SendReport) firstComplaint() string {
	if len(r.Complaints) == 0 {
		return "no reason given"
	}
	return r.Complaints[0]
}

func (r *SendReport) print(out io.Writer) {
	fmt.Fprintf(out, "sent      %d spans of %d traces by %s to %s: %d accepted, %d refused, %d requests retried\n",
		r.Spans, r.Traces, r.Protocol, r.Target, r.Accepted, r.Refused, r.Retried)
	fmt.Fprintf(out, "speed     %.0f spans/s over %s, %d requests of up to %d spans on %d connections, %.1f MB\n",
		r.SpansPerSecond, r.Wall.Round(time.Millisecond), r.Requests, r.SpansPerRequest, r.Connections, float64(r.Bytes)/1e6)
	if r.MostBehind > 0 {
		fmt.Fprintf(out, "pace      at most %s behind %.0f spans/s\n", r.MostBehind.Round(time.Millisecond), r.Rate)
	}
	if r.Spans > 0 {
		fmt.Fprintf(out, "client    %.2f µs CPU a span\n", float64(r.ClientCPU.Nanoseconds())/1e3/float64(r.Spans))
	}
	if s := r.Server; s != nil {
		fmt.Fprintf(out, "server    %.2f µs CPU a span (%s), %.0f MiB resident, %.0f MiB at most\n",
			s.MicrosPerSpan, s.CPU, float64(s.RSS)/(1<<20), float64(s.PeakRSS)/(1<<20))
	}
	r.Size.print(out)
	if r.Manifest != "" {
		fmt.Fprintf(out, "manifest  %s\n", r.Manifest)
	}
	for _, c := range r.Complaints {
		fmt.Fprintf(out, "answer    %s\n", c)
	}
}

// Size says how big the data are, in bytes a span.
type Size struct {
	// OTLP is the protobuf export requests at this number of spans a request, whatever protocol is sent.
	OTLP float64 `json:"otlp"`
	// Floor is the information in the random choices of the generator: ids, times, sizes, tree, outcomes. It takes the
	// mesh itself and the order of arrival as known, so nothing that stores these spans exactly is smaller on average.
	Floor float64 `json:"floor"`
	// FloorByColumn counts what both sides of a call report once for each side: the floor of a store that compresses
	// each column by itself.
	FloorByColumn float64 `json:"floorByColumn"`
	// Spans is how many were measured.
	Spans int64 `json:"spans"`
}

func (s *Size) print(out io.Writer) {
	fmt.Fprintf(out, "size      %.0f B a span as OTLP; entropy floor %.1f B a span, %.1f by column (over %d spans)\n",
		s.OTLP, s.Floor, s.FloorByColumn, s.Spans)
}

// mostMeasured is enough spans for three digits.
const mostMeasured = 40_000

// Measure generates the first spans of a seed and says how big they are.
func Measure(seed uint64, tracesPerSecond, perRequest int, spans int64) Size {
	d := New(seed, time.Unix(1_700_000_000, 0), tracesPerSecond, FormOTLP)
	s := d.Stream(perRequest, min(spans, mostMeasured), EncoderOf(OTLPGRPC))
	var bytes int
	for {
		q, ok := s.Next()
		if !ok {
			break
		}
		bytes += len(q.Body)
		s.Release(q)
	}
	n := float64(s.Spans)
	return Size{OTLP: float64(bytes) / n, Floor: s.Bits / 8 / n, FloorByColumn: (s.Bits + s.Twice) / 8 / n, Spans: s.Spans}
}
