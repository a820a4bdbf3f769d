// Package app is the wiring of `spanloom serve`: it builds the rooms in the order a span walks them, opens the ports, and
// stops everything in reverse. It is the only room that knows all others.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spanloom/spanloom/config"
	"github.com/spanloom/spanloom/doctor/live"
	"github.com/spanloom/spanloom/forward"
	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/internal/repeated"
	"github.com/spanloom/spanloom/process"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/tempoapi"
	"github.com/spanloom/spanloom/query/traceql"
	"github.com/spanloom/spanloom/query/uiapi"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/beside"
	"github.com/spanloom/spanloom/store/clickhouse"
	"github.com/spanloom/spanloom/store/local"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/opensearch"
	"github.com/spanloom/spanloom/store/opensearch/jaegerindex"
	"github.com/spanloom/spanloom/store/queue"
	"github.com/spanloom/spanloom/web"
)

// Build says which program this is.
type Build struct{ Version, Commit, Date string }

// Endpoints are the addresses that serve listens on; empty for those that are off.
type Endpoints struct {
	HTTP, JaegerGRPC, Tempo, TempoGRPC, Zipkin, OTLPGRPC, OTLPHTTP, Admin string
}

const (
	patience    = 25 * time.Second // for requests in flight after SIGTERM
	ledgerEvery = 15 * time.Second // how often closed minutes of the ledger are written
	minBudget   = 32 << 20         // bytes of bodies in flight, at least
	bodyShare   = 3                // of the budget: a body takes up to 2.3 times its size, buffer and batch together
)

// Options are what Serve needs besides the settings.
type Options struct {
	Build Build
	Log   *slog.Logger
	Now   func() time.Time // the clock of every room; nil: time.Now
	FS    faultfs.FS       // under the embedded engine; nil: the operating system's
	Ready func(Endpoints)  // called once all listeners accept; may be nil
}

// gcPercent makes the collector run more often than by default. Memtables are a few large slices without pointers, which cost
// nothing to mark: twice as many collections take less than a hundredth of the processor and half of the garbage.
const gcPercent = 40

// Serve runs until ctx ends, then finishes requests, syncs the log and returns nil. It returns an error if anything could not
// start or broke.
func Serve(ctx context.Context, c *config.Config, o Options) (err error) {
	if err := checkBucket(c); err != nil {
		return err
	}
	log, now := o.Log, o.Now
	if now == nil {
		now = time.Now
	}
	writable := prepareFolder(c.DataDir)
	if writable != nil && !isRemote(c.Store) {
		return fmt.Errorf("--data-dir: %w", writable)
	}
	memory := memoryPlan(c)
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}

	engine, err := openEngine(ctx, c, o, memory, now)
	if err != nil {
		return fmt.Errorf("open --store %s: %w", c.Store, err)
	}
	defer func() { err = errors.Join(err, engine.Close()) }()

	rules, err := Rules(c)
	if err != nil {
		return err
	}
	copies, err := openForward(ctx, c, o, now)
	if err != nil {
		return err
	}
	var sink process.Sink = engine
	if copies != nil {
		defer func() { err = errors.Join(err, copies.Close()) }()
		sink = copying{engine, copies}
	}
	steps, err := process.New(rules, sink)
	if err != nil {
		return err
	}
	budget := receive.NewBudget(max(memory/8, minBudget))
	ledger := receive.NewLedger(now, log)
	intake := &receive.Intake{
		Sink: steps, Ledger: ledger, Budget: budget, Now: now, Strict: c.Strict, Trusted: c.TrustedProxies(),
		MaxBody: min(c.MaxBody.Of(memory), budget.Max()/bodyShare),
	}
	s := &service{
		config: c, build: o.Build, log: log, now: now, started: now(), engine: engine, steps: steps, intake: intake, ledger: ledger, forward: copies,
		documents: documents{engine},
		query:     query.New(query.Options{Reader: engine, Keeper: engine, Meta: engine, Now: now, Log: log, Limits: traceLimits(memory)}),
	}
	if s.doctor, err = s.newDoctor(); err != nil {
		return err
	}
	s.traceql = traceql.New(engine, traceql.Options{Now: now, MaxBytes: queryBytes(memory)})
	s.tempo = tempoapi.New(tempoapi.Options{Query: s.query, TraceQL: s.traceql, Log: log, Build: tempoapi.Build(o.Build)})
	if s.tokens, err = loadTokens(c.AuthTokenFile); err != nil {
		return err
	}
	if err := s.buildPorts(); err != nil {
		return err
	}
	if err := listen(s.ports); err != nil {
		return err
	}
	if writable != nil {
		log.Warn("endpoints.json was not written", "error", writable)
	} else if err := writeEndpoints(c.DataDir, s.ports); err != nil {
		closeAll(s.ports)
		return err
	}
	s.announce(memory)

	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var tasks sync.WaitGroup
	tasks.Go(func() { s.keepLedger(background) })
	tasks.Go(func() { s.reloadOnSignal(background) })
	tasks.Go(func() { s.doctor.Run(background, scope()) })
	tasks.Go(func() { s.doctor.RunCluster(background, scope()) })
	s.ready.Store(true)
	if o.Ready != nil {
		o.Ready(s.endpoints())
	}
	err = serve(ctx, s.ports, patience, func() {
		s.ready.Store(false)
		log.Info("stopping: finishing requests", "patience", patience)
	})
	stop()
	tasks.Wait()
	if flushErr := ledger.Flush(context.WithoutCancel(ctx), s.documents, replica(), true); flushErr != nil {
		log.Warn("the last minutes of the receipt ledger were not written", "error", flushErr)
	}
	_ = os.Remove(filepath.Join(c.DataDir, "endpoints.json")) // nobody should dial a server that is gone
	log.Info("stopped")
	return err
}

// traceLimits keeps the traces that people look at within what spans and bodies leave of the memory.
func traceLimits(memory int64) query.Limits {
	return query.Limits{TraceBytes: min(memory/4, 512<<20), LargeAtOnce: int(max(memory>>30, 1))}
}

// queryBytes is what one TraceQL query may hold: all that run at once share a quarter of the memory.
func queryBytes(memory int64) int64 {
	return min(max(memory/4/int64(query.DefaultAtOnce()), 16<<20), 256<<20)
}

// openEngine is a switch over the engines; half of the planned memory holds spans.
func openEngine(ctx context.Context, c *config.Config, o Options, memory int64, now func() time.Time) (store.Engine, error) {
	if c.Store == "memory" {
		return mem.New(mem.Options{MaxBytes: memory / 2, Now: now}), nil
	}
	switch c.Store {
	case "clickhouse":
		return openClickHouse(ctx, c, o, memory, now)
	case "opensearch", "elasticsearch":
		return openOpenSearch(ctx, c, o, memory, now)
	}
	sync, err := walSync(c.WALSync)
	if err != nil {
		return nil, err
	}
	options := local.Options{Dir: c.DataDir, FS: o.FS, MaxMemory: memory / 2, MaxDisk: maxDisk(c), Retention: c.Retention, Sync: sync, Now: now, Log: o.Log}
	if c.Bucket != "" {
		if options.Bucket, err = local.OpenBucket(ctx, c.Bucket); err != nil {
			return nil, err
		}
	}
	if c.ReadOnly {
		return local.OpenReader(ctx, options)
	}
	return local.Open(ctx, options)
}

// checkBucket finds settings that exclude each other.
func checkBucket(c *config.Config) error {
	switch {
	case c.Bucket != "" && c.Store != "local":
		return &problem.Problem{Kind: problem.Invalid, Field: "--bucket", Message: fmt.Sprintf("--store %s has no bucket", c.Store), Hint: "leave it out, or take --store local"}
	case c.ReadOnly && c.Bucket == "":
		return &problem.Problem{Kind: problem.Invalid, Field: "--read-only", Message: "there is nothing to read from", Hint: "give --bucket"}
	}
	return nil
}

// prepareFolder makes the data folder and says why nothing can be written there.
func prepareFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// maxDisk is --max-disk in bytes.
func maxDisk(c *config.Config) int64 {
	if n := c.MaxDisk.Of(volumeBytes(c.DataDir)); n > 0 {
		return n
	}
	return math.MaxInt64
}

// How long spans wait for others to share an insert: a ClickHouse server takes a few inserts a second with ease. Without a queue a
// sender waits so long for his answer.
const (
	linger      = 250 * time.Millisecond
	queueLinger = time.Second
	queueShare  = 4 // of the planned memory, that spans in the queue may take
	queueFolder = "queue"
)

// isRemote reports whether an engine's data lives in servers elsewhere.
func isRemote(kind string) bool {
	return kind == "clickhouse" || kind == "opensearch" || kind == "elasticsearch"
}

// remote is an engine whose data lives in servers elsewhere.
type remote struct {
	kind, name string // as --store has it, and as people do
	away       func(error) bool
	// open connects. Without a queue, batches may wait linger for others to share an insert.
	open func(ctx context.Context, linger time.Duration) (queue.Engine, error)
}

// behindQueue puts the queue before a remote engine wherever there is a folder for it.
func behindQueue(ctx context.Context, c *config.Config, o Options, memory int64, now func() time.Time, r remote) (store.Engine, error) {
	if err := prepareFolder(c.DataDir); err != nil {
		o.Log.Warn("no queue: nothing can be written in the data folder", "error", err, "what follows",
			"a sender is answered when "+r.name+" has his spans and refused while it is away; spans of senders that do not try again, sidecars above all, are lost then")
		return r.open(ctx, linger)
	}
	sync, err := walSync(c.WALSync)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(c.DataDir, queueFolder)
	o.Log.Info("spans wait in a queue until "+r.name+" has them", "dir", dir, "what can be lost", "what waits there, if the folder goes: in Kubernetes give the pod a volume")
	return queue.Open(ctx, queue.Options{
		Dir: dir, Kind: r.kind, FS: o.FS, MaxMemory: memory / queueShare, MaxDisk: maxDisk(c), Sync: sync, Linger: queueLinger, Now: now, Log: o.Log,
		Away:    r.away,
		Connect: func(ctx context.Context) (queue.Engine, error) { return r.open(ctx, 0) },
	})
}

// grownLogs is what ClickHouse's own logs may take before the start log speaks of them.
const grownLogs = 1 << 30

func openClickHouse(ctx context.Context, c *config.Config, o Options, memory int64, now func() time.Time) (store.Engine, error) {
	target, err := clickhouse.ParseDSN(c.ClickHouseDSN, os.Getenv)
	if err != nil {
		return nil, err
	}
	for _, w := range target.Warnings {
		o.Log.Warn(w)
	}
	return behindQueue(ctx, c, o, memory, now, remote{kind: "clickhouse", name: "ClickHouse", away: clickhouse.Away,
		open: func(ctx context.Context, linger time.Duration) (queue.Engine, error) {
			e, err := clickhouse.Open(ctx, clickhouse.Options{Target: target, Retention: c.Retention, Linger: linger, Now: now,
				Naming: clickhouse.Naming{Keys: process.NamingKeys(), Set: process.Regroup}, Log: func(message string) { o.Log.Info(message) }})
			if err != nil {
				return nil, err
			}
			if lossy := e.Can().Lossy; len(lossy) > 0 {
				o.Log.Info("spans are kept in the tables of the OpenTelemetry exporter", "what they do not hold", strings.Join(lossy, "; "))
			}
			if grown, err := e.GrownLogs(ctx, grownLogs); err != nil {
				o.Log.Warn("the server's logs were not looked at", "error", err)
			} else if grown != "" {
				o.Log.Warn(grown)
			}
			return clickHouse{e}, nil
		}})
}

func openOpenSearch(ctx context.Context, c *config.Config, o Options, memory int64, now func() time.Time) (store.Engine, error) {
	target, err := opensearch.ParseURL(c.OpenSearchURL, os.Getenv)
	if err != nil {
		return nil, err
	}
	for _, w := range target.Warnings {
		o.Log.Warn(w)
	}
	name := map[string]string{"opensearch": "OpenSearch", "elasticsearch": "Elasticsearch"}[c.Store]
	return behindQueue(ctx, c, o, memory, now, remote{kind: "opensearch", name: name, away: opensearch.Away,
		open: func(ctx context.Context, _ time.Duration) (queue.Engine, error) {
			e, err := opensearch.Open(ctx, opensearch.Options{Target: target, Retention: c.Retention, Now: now,
				Log: func(message string, err error) { o.Log.Warn(message, "error", err) }})
			if err != nil {
				return nil, err
			}
			if target.Jaeger == nil {
				return openSearch{e}, nil
			}
			return besideJaeger(e, *target.Jaeger, now, o.Log), nil
		}})
}

// besideJaeger reads the spans that Jaeger stored on an engine's servers beside the engine's own.
func besideJaeger(e *opensearch.Engine, prefix string, now func() time.Time, log *slog.Logger) withJaeger {
	warn := func(message string, err error) { log.Warn(message, "error", err) }
	indices := jaegerindex.New(jaegerindex.Options{Client: e.Client(), Prefix: prefix, Now: now, Settle: process.Settle, Log: warn})
	log.Info("spans that Jaeger stored are read too, and never written", "indices", indices.Pattern(), "what they do not hold", strings.Join(indices.Can().Lossy, "; "))
	return withJaeger{&beside.Engine{Writing: e, Reader: beside.New(e, indices, "Jaeger's indices", now, warn)}, e}
}

// The engines as the queue sees them.
type (
	clickHouse struct{ *clickhouse.Engine }
	openSearch struct{ *opensearch.Engine }
	withJaeger struct {
		*beside.Engine
		own *opensearch.Engine
	}
)

func (e clickHouse) Pin() queue.Reader { return e.Engine.Pin() }
func (e openSearch) Pin() queue.Reader { return e.Engine.Pin() }
func (e withJaeger) Pin() queue.Reader { return e.With(e.own.Pin()) }

// walSync is 0 for always, else the interval.
func walSync(text string) (time.Duration, error) {
	if text == "always" {
		return 0, nil
	}
	return config.ParseDuration(text)
}

// service is a running serve: what handlers and background tasks share.
type service struct {
	config    *config.Config
	build     Build
	log       *slog.Logger
	now       func() time.Time
	started   time.Time
	engine    store.Engine
	steps     *process.Pipeline
	forward   *forward.Forwarder // nil: nothing is forwarded
	intake    *receive.Intake
	ledger    *receive.Ledger
	documents documents
	query     *query.Query
	doctor    *live.Doctor
	mesh      uiapi.Mesh // nil: no cluster is read
	tempo     *tempoapi.API
	traceql   *traceql.Engine
	tokens    *tokens
	certs     []*certificate
	ports     []*port
	ready     atomic.Bool
}

// scope is whose data a request sees: everyone's, until tenants exist.
func scope() store.Scope { return store.Scope{Tenant: store.DefaultTenant} }

// announce writes the lines people look for.
func (s *service) announce(memory int64) {
	for _, p := range s.ports {
		s.log.Info(p.speaks+" started", "address", p.addr, "tls", p.tls, "authentication", !p.open)
		if a, err := netip.ParseAddrPort(p.addr); err == nil && p.open && !a.Addr().IsLoopback() {
			s.log.Warn("open to the network without authentication", "listener", p.name, "address", p.addr, "hint", "see --auth-token-file")
		}
	}
	stats := s.engine.Stats()
	s.log.Info("everything is ready", "version", s.build.Version, "store", stats.Kind, "data", s.config.DataDir, "spans", stats.Spans,
		"memory", fmt.Sprint(memory>>20, " MiB"), "ui built in", web.Built())
	for _, d := range stats.Damaged {
		s.log.Warn("damaged data was left out", "what", d, "hint", "see spanloom fsck")
	}
}

func (s *service) endpoints() (e Endpoints) {
	for _, p := range s.ports {
		switch p.key {
		case "http":
			e.HTTP = p.addr
		case "jaegerGrpc":
			e.JaegerGRPC = p.addr
		case "tempo":
			e.Tempo = p.addr
		case "tempoGrpc":
			e.TempoGRPC = p.addr
		case "zipkin":
			e.Zipkin = p.addr
		case "otlpGrpc":
			e.OTLPGRPC = p.addr
		case "otlpHttp":
			e.OTLPHTTP = p.addr
		case "admin":
			e.Admin = p.addr
		}
	}
	return e
}

// keepLedger writes closed minutes and drops those older than the retention.
func (s *service) keepLedger(ctx context.Context) {
	tick := time.NewTicker(ledgerEvery)
	defer tick.Stop()
	var written, deleted repeated.Warning // a remote engine may be away for hours
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.ledger.Flush(ctx, s.documents, replica(), false)
		if ctx.Err() != nil {
			return
		}
		written.Say(s.log, "receipt ledger not written, will try again", err)
		err = s.ledger.Expire(ctx, s.documents, s.now().Add(-s.config.Retention))
		if ctx.Err() != nil {
			return
		}
		deleted.Say(s.log, "old receipts not deleted, will try again", err)
	}
}

// replica keeps the ledger parts of several processes, and of one process's lives, apart.
func replica() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}

// reload takes over what can change without a restart, after checking all of it; nothing changes if anything is wrong.
func (s *service) reload() error {
	c, err := config.Load(config.Source{Env: os.LookupEnv, File: s.config.File, Flags: s.config.Given})
	if err != nil {
		return err
	}
	rules, err := Rules(c)
	if err != nil {
		return err
	}
	errs := []error{s.tokens.reload()}
	for _, cert := range s.certs {
		errs = append(errs, cert.reload())
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return s.steps.SetRules(rules)
}

// documents lets the ledger write into the engine's small state.
type documents struct{ meta store.Meta }

func (d documents) Save(ctx context.Context, name string, data []byte) error {
	for {
		old, err := d.meta.Load(ctx, scope(), name)
		if err != nil {
			return err
		}
		if _, err = d.meta.Save(ctx, scope(), name, data, old.Version); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

func (d documents) Load(ctx context.Context, name string) ([]byte, error) {
	doc, err := d.meta.Load(ctx, scope(), name)
	return doc.Data, err
}

func (d documents) Names(ctx context.Context, prefix string) ([]string, error) {
	return d.meta.Names(ctx, scope(), prefix)
}

func (d documents) Delete(ctx context.Context, name string) error {
	return d.meta.Delete(ctx, scope(), name)
}

// refusedByToken writes the receipt of a refused request.
func (s *service) refusedByToken(p span.Protocol, remote, forwarded string, pr *problem.Problem) {
	s.ledger.Refused(receive.Rejection{Protocol: p, Sender: s.intake.SenderOf(remote, forwarded), Reason: receive.NotAllowed, Message: pr.Error()})
}
