package clickhouse

import (
	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/store"
)

// attributes are the columns of one owner's attributes: a key, a type and a value each.
type attributes struct {
	keys   *words
	types  *proto.ColUInt8
	texts  *proto.ColStr // values; nil where they are words
	words  *words
	lists  [3]*list // of keys, types, values
	prefix string   // of the columns' names
}

func newAttributes(prefix string, low bool) *attributes {
	a := &attributes{prefix: prefix, keys: newWords(), types: new(proto.ColUInt8)}
	var values proto.Column
	if low {
		a.words = newWords()
		values = a.words
	} else {
		a.texts = new(proto.ColStr)
		values = a.texts
	}
	a.lists = [3]*list{newList(a.keys), newList(a.types), newList(values)}
	return a
}

// value is the bytes of the value at an index of all elements.
func (a *attributes) value(at int) []byte {
	if a.words != nil {
		return a.words.bytes(at)
	}
	return a.texts.RowBytes(at)
}

func (a *attributes) addValue(p []byte) {
	if a.words != nil {
		a.words.add(p)
		return
	}
	a.texts.AppendBytes(p)
}

func (a *attributes) end() {
	for _, l := range a.lists {
		l.end()
	}
}

// typedValues is a column of typedColumns.
type typedValues struct {
	words *words
	texts *proto.ColStr
}

func (v *typedValues) bytes(row int) []byte {
	if v.words != nil {
		return v.words.bytes(row)
	}
	return v.texts.RowBytes(row)
}

func (v *typedValues) add(p []byte) {
	if v.words != nil {
		v.words.add(p)
		return
	}
	v.texts.AppendBytes(p)
}

func (v *typedValues) column() proto.Column {
	if v.words != nil {
		return v.words
	}
	return v.texts
}

// block is the rows of one block in the columns of the schema. A reader asks for some of them, the others stay empty.
type block struct {
	tenant                                               *words
	minute                                               proto.ColDateTime
	timestamp, received                                  *proto.ColDateTime64
	traceHigh, traceLow, duration, sentStart, sentEnd    proto.ColUInt64
	writer, seq, spanNumber, parentNumber                proto.ColUInt64
	row, flags, droppedAttrs, droppedEvents, droppedLink proto.ColUInt32
	kind, status, failed, attrLists                      proto.ColUInt8
	mark                                                 proto.ColUInt16
	weight                                               proto.ColFloat64

	service, group, namespace, name, message, traceState *words

	spans, resources, scopes, events, links *attributes

	resourceSchema, scopeName, scopeVersion, scopeSchema *words
	resourceDropped, scopeDropped                        proto.ColUInt32

	eventTimes                        proto.ColUInt64
	eventNames, linkStates            *words
	eventDropped, eventSizes          proto.ColUInt32
	linkHighs, linkLows, linkSpans    proto.ColUInt64
	linkFlags, linkDropped, linkSizes proto.ColUInt32
	eventLists                        [4]*list // times, names, dropped, sizes
	linkLists                         [7]*list // highs, lows, spans, states, flags, dropped, sizes
	typed                             [len(typedColumns)]typedValues

	columns []column
}

// column is one of the schema's.
type column struct {
	name string
	data proto.Column
	of   store.Columns // the need that reads it; see the constants below for what store has no name for
}

// Needs beside those of store.
const (
	always        store.Columns = 1 << (16 + iota) // trace id
	onlyWritten                                    // found by, never read
	ofRank                                         // receipt and order of receipt
	spanAttrs                                      // attributes of spans
	resourceAttrs                                  // of resources
	resourceRest                                   // schema URL and dropped count of resources
	scopeAttrs
	scopeRest
	eventAttrs
	linkAttrs
	typedAttrs // one of typedColumns
)

func newBlock() *block {
	b := &block{
		tenant: newWords(), service: newWords(), group: newWords(), namespace: newWords(), name: newWords(), message: newWords(), traceState: newWords(),
		spans: newAttributes("Span", false), resources: newAttributes("Resource", true), scopes: newAttributes("Scope", true),
		events: newAttributes("Event", false), links: newAttributes("Link", false),
		resourceSchema: newWords(), scopeName: newWords(), scopeVersion: newWords(), scopeSchema: newWords(),
		eventNames: newWords(), linkStates: newWords(),
		timestamp: newInstants(), received: newInstants(),
	}
	add := func(of store.Columns, name string, data proto.Column) {
		b.columns = append(b.columns, column{name, data, of})
	}
	add(onlyWritten, "Tenant", b.tenant)
	add(onlyWritten, "Minute", &b.minute)
	add(always, "TraceHigh", &b.traceHigh)
	add(always, "TraceLow", &b.traceLow)
	add(store.ColTime, "Timestamp", b.timestamp)
	add(store.ColTime, "Duration", &b.duration)
	add(store.ColTime, "SentStart", &b.sentStart)
	add(store.ColTime, "SentEnd", &b.sentEnd)
	add(ofRank, "Received", b.received)
	add(onlyWritten, "Writer", &b.writer)
	add(onlyWritten, "Seq", &b.seq)
	add(onlyWritten, "Row", &b.row)
	add(store.ColSpanID, "SpanNumber", &b.spanNumber)
	add(store.ColParent, "ParentNumber", &b.parentNumber)
	add(store.ColService, "ServiceName", b.service)
	add(store.ColService, "ServiceGroup", b.group)
	add(store.ColService, "ServiceNamespace", b.namespace)
	add(store.ColName, "SpanName", b.name)
	add(store.ColKind, "Kind", &b.kind)
	add(store.ColStatus, "Status", &b.status)
	add(onlyWritten, "Failed", &b.failed)
	add(store.ColStatusMessage, "StatusMessage", b.message)
	add(store.ColTraceState, "TraceState", b.traceState)
	add(store.ColFlags, "Flags", &b.flags)
	add(store.ColMark, "Mark", &b.mark)
	add(store.ColWeight, "Weight", &b.weight)
	add(store.ColDropped, "DroppedAttributes", &b.droppedAttrs)
	add(store.ColDropped, "DroppedEvents", &b.droppedEvents)
	add(store.ColDropped, "DroppedLinks", &b.droppedLink)
	three := func(of store.Columns, a *attributes) {
		for i, what := range []string{"Keys", "Types", "Values"} {
			add(of, a.prefix+what, a.lists[i])
		}
	}
	three(spanAttrs, b.spans)
	three(resourceAttrs, b.resources)
	add(resourceRest, "ResourceSchema", b.resourceSchema)
	add(resourceRest, "ResourceDropped", &b.resourceDropped)
	add(store.ColScope, "ScopeName", b.scopeName)
	add(store.ColScope, "ScopeVersion", b.scopeVersion)
	three(scopeAttrs, b.scopes)
	add(scopeRest, "ScopeSchema", b.scopeSchema)
	add(scopeRest, "ScopeDropped", &b.scopeDropped)
	for i, c := range []struct {
		name string
		of   proto.Column
	}{{"EventTimes", &b.eventTimes}, {"EventNames", b.eventNames}, {"EventDropped", &b.eventDropped}, {"EventSizes", &b.eventSizes}} {
		b.eventLists[i] = newList(c.of)
		add(store.ColEvents, c.name, b.eventLists[i])
	}
	three(eventAttrs, b.events)
	for i, c := range []struct {
		name string
		of   proto.Column
	}{{"LinkHighs", &b.linkHighs}, {"LinkLows", &b.linkLows}, {"LinkSpans", &b.linkSpans}, {"LinkStates", b.linkStates}, {"LinkFlags", &b.linkFlags},
		{"LinkDropped", &b.linkDropped}, {"LinkSizes", &b.linkSizes}} {
		b.linkLists[i] = newList(c.of)
		add(store.ColLinks, c.name, b.linkLists[i])
	}
	three(linkAttrs, b.links)
	for i, c := range typedColumns {
		if c.texts {
			b.typed[i].texts = new(proto.ColStr)
		} else {
			b.typed[i].words = newWords()
		}
		add(typedAttrs, c.name, b.typed[i].column())
	}
	add(onlyWritten, "attr_lists", &b.attrLists)
	return b
}

// reset empties the block and keeps its memory.
func (b *block) reset() {
	for _, c := range b.columns {
		c.data.Reset()
	}
}

// typedIndex finds the column of an attribute key of spans.
var typedIndex = func() map[string]int {
	index := make(map[string]int, len(typedColumns))
	for i, c := range typedColumns {
		index[c.key] = i
	}
	return index
}()
