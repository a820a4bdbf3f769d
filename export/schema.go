package export

// The columns of the file; docs/format/parquet.md says what each means. What can be null is a pointer: of fields tagged optional
// parquet-go v0.32.0 writes some empty ones as values (writeRowsFuncOfOptional takes the end of a run of k values that begins at bit
// k of a word for the end of the word).

type row struct {
	TraceID       string  `parquet:"trace_id,dict"`
	SpanID        string  `parquet:"span_id"`
	ParentSpanID  *string `parquet:"parent_span_id"`
	TraceState    string  `parquet:"trace_state,dict"`
	Name          string  `parquet:"name,dict"`
	Kind          string  `parquet:"kind,dict"`
	KindCode      uint32  `parquet:"kind_code,dict"`
	Status        string  `parquet:"status,dict"`
	StatusCode    uint32  `parquet:"status_code,dict"`
	StatusMessage string  `parquet:"status_message,dict"`
	Failed        bool    `parquet:"failed"`

	Time      int64  `parquet:"time,timestamp(nanosecond),delta"`
	EndTime   int64  `parquet:"end_time,timestamp(nanosecond),delta"`
	Duration  int64  `parquet:"duration_ns,delta"`
	TimeNano  int64  `parquet:"time_unix_nano,delta"`
	StartNano uint64 `parquet:"start_unix_nano,delta"`
	EndNano   uint64 `parquet:"end_unix_nano,delta"`

	Service       string  `parquet:"service,dict"`
	WorkloadGroup string  `parquet:"workload_group,dict"`
	Namespace     string  `parquet:"namespace,dict"`
	Weight        float64 `parquet:"weight,dict"`
	Marks         uint32  `parquet:"marks,dict"`
	Flags         uint32  `parquet:"flags,dict"`

	DroppedAttributes uint32 `parquet:"dropped_attributes,dict"`
	DroppedEvents     uint32 `parquet:"dropped_events,dict"`
	DroppedLinks      uint32 `parquet:"dropped_links,dict"`

	Attributes []attribute `parquet:"attributes,list"`
	Resource   resource    `parquet:"resource"`
	Scope      scope       `parquet:"scope"`
	Events     []event     `parquet:"events,list"`
	Links      []link      `parquet:"links,list"`

	Raw *[]byte `parquet:"raw"`
}

type attribute struct {
	Key    string   `parquet:"key,dict"`
	Type   string   `parquet:"type,dict"`
	String *string  `parquet:"string,dict"`
	Int    *int64   `parquet:"int"`
	Double *float64 `parquet:"double"`
	Bool   *bool    `parquet:"bool"`
	Bytes  *[]byte  `parquet:"bytes"`
}

type resource struct {
	Attributes []attribute `parquet:"attributes,list"`
	Dropped    uint32      `parquet:"dropped_attributes,dict"`
	SchemaURL  string      `parquet:"schema_url,dict"`
}

type scope struct {
	Name       string      `parquet:"name,dict"`
	Version    string      `parquet:"version,dict"`
	Attributes []attribute `parquet:"attributes,list"`
	Dropped    uint32      `parquet:"dropped_attributes,dict"`
	SchemaURL  string      `parquet:"schema_url,dict"`
}

type event struct {
	TimeNano   uint64      `parquet:"time_unix_nano"`
	Name       string      `parquet:"name,dict"`
	Attributes []attribute `parquet:"attributes,list"`
	Dropped    uint32      `parquet:"dropped_attributes"`
}

type link struct {
	TraceID    *string     `parquet:"trace_id"`
	SpanID     *string     `parquet:"span_id"`
	TraceState string      `parquet:"trace_state"`
	Attributes []attribute `parquet:"attributes,list"`
	Dropped    uint32      `parquet:"dropped_attributes"`
	Flags      uint32      `parquet:"flags"`
}
