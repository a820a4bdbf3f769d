package zipkin

import "github.com/spanloom/spanloom/span"

// View is a row as Zipkin sees it, for those who ask about spans instead of writing them. Its texts are valid until the next
// call of the Encoder it came from and as long as the batch.
type View struct {
	Name     []byte
	Service  []byte // of the local endpoint
	LocalIP  []byte
	Remote   []byte // service of the remote endpoint
	Start    uint64 // µs since the epoch; 0 is unknown
	Duration uint64 // µs; 0 is unknown
	Kind     span.Kind
	Shared   bool

	raw *rawSpan
}

// View reads a row. Cost: that of writing it.
func (x *Encoder) View(b *span.Batch, row int) View {
	r := x.restore(b, row)
	v := View{Name: r.name, Service: r.local.service, LocalIP: r.local.ipv4, Remote: r.remote.service, Start: r.timestamp, Duration: r.duration,
		Kind: r.kind, Shared: r.shared, raw: r}
	if len(v.LocalIP) == 0 {
		v.LocalIP = r.local.ipv6
	}
	return v
}

// Tag finds a tag by its key.
func (v View) Tag(key string) (value []byte, ok bool) {
	for i := range v.raw.tags {
		if string(v.raw.tags[i].key) == key {
			return v.raw.tags[i].value, true
		}
	}
	return nil, false
}

// HasAnnotation reports whether an annotation says just this.
func (v View) HasAnnotation(text string) bool {
	for i := range v.raw.annotations {
		if string(v.raw.annotations[i].value) == text {
			return true
		}
	}
	return false
}

// RemoteFields are the attributes from which the service of a remote endpoint is read: the first two of any span, the others,
// best first, of clients and producers that have none of those before it.
func RemoteFields() []string {
	return append([]string{ownPrefix + keyPeerService, keyPeerService}, remoteRank[:]...)
}

// EndpointFields are the attributes from which the address of a local endpoint is read.
func EndpointFields() []string {
	return []string{keyHostIP, ownPrefix + keyHostIP, keyHostIP + secondIP, ownPrefix + keyHostIP + secondIP}
}

// HiddenKeys are the attributes that the encoder does not write as tags, because they hold fields of Zipkin's. A tag of such
// a name may exist; that is rare.
func HiddenKeys() []string {
	keys := []string{keyService, keyShared, keyDebug, keyNoStart}
	for _, k := range fieldKeys {
		keys = append(keys, k, ownPrefix+k)
	}
	return keys
}
