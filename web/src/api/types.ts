/**
 * The shapes of docs/api/openapi.yaml that the UI reads. Instants are decimal strings of
 * nanoseconds since the epoch, durations integer nanoseconds, ids lower hex.
 */

export type KindName = "unspecified" | "internal" | "server" | "client" | "producer" | "consumer";

export interface Read {
  blocks?: number;
  of?: number;
  bytes?: number;
}

export interface List<T> {
  items: T[];
  next?: string;
  complete?: boolean;
  reason?: string;
  away?: boolean;
  read?: Read;
}

export interface Red {
  n: number;
  weight: number;
  errors: number;
  rate: number;
  errorRate: number;
  p50: number;
  p95: number;
  p99: number;
  estimated: boolean;
}

export interface Service {
  name: string;
  group: string;
  namespace: string;
  slot: number;
  spans: number;
  lastTime?: string;
  red?: Red;
  before?: Red;
  spark?: number[];
  sparkErrors?: number[];
}

export interface Operation {
  name: string;
  kind: KindName;
  n: number;
}

export interface AttributeKey {
  key: string;
  scope: string;
  type: ValueType;
  n: number;
}

export interface AttributeValue {
  value: string;
  type: string;
  n: number;
}

export interface TraceService {
  name: string;
  slot: number;
  spans: number;
  errors: number;
}

export interface TraceSummary {
  traceId: string;
  start: string;
  duration: number;
  rootService: string;
  rootOperation: string;
  rootMissing?: boolean;
  spans: number;
  errors: number;
  matched: number;
  matchedStart?: string;
  maybeIncomplete: boolean;
  services: TraceService[];
}

/** What a question looks for: filters, or a TraceQL query. */
export type Asked = { filter: string[]; q?: undefined } | { q: string; filter?: undefined };

/** One line of a streamed search. */
export type SearchLine =
  | { type: "trace"; trace: TraceSummary }
  | { type: "progress"; found: number; read?: Read }
  | {
      type: "end";
      next?: string;
      complete: boolean;
      reason?: string;
      away?: boolean;
      read?: Read;
      error?: { kind: ErrorKind; message: string; hint?: string; field?: string };
    };

export interface HeatCell {
  column: number;
  row: number;
  n: number;
  errors?: number;
  example: string;
}

export interface Heatmap {
  start: string;
  step: number;
  columns: number;
  of: "roots" | "matches";
  /** Row i is [bounds[i], bounds[i+1]) in ns; empty where nothing is counted. */
  bounds: number[];
  cells: HeatCell[];
  red: Red;
  ignored?: string[];
  complete: boolean;
  reason?: string;
  away?: boolean;
  read?: Read;
}

export interface DifferingValue {
  value?: string;
  cut?: boolean;
  absent?: boolean;
  selected: number;
  rest: number;
}

export interface DifferingField {
  field: string;
  key?: string;
  scope: "span" | "resource" | "intrinsic";
  score: number;
  many?: boolean;
  values: DifferingValue[];
}

export interface Differences {
  selected: number;
  rest: number;
  of: "roots" | "matches";
  items: DifferingField[];
  complete: boolean;
  reason?: string;
  away?: boolean;
  read?: Read;
}

export interface TraceQLCheck {
  ok: boolean;
  kind?: "spans" | "search" | "metrics";
  mistake?: { message: string; expected?: string; hint?: string; line: number; column: number };
}

export interface SavedSearch {
  name: string;
  query: string;
}

export interface SavedSearches {
  items: SavedSearch[];
  version: number;
}

export type WarningKind =
  | "missing_parent"
  | "shared_id"
  | "duplicate"
  | "clock_skew"
  | "impossible_time"
  | "twin_id"
  | "cycle"
  | "too_many_spans"
  | "late"
  | "away";

export interface Warning {
  kind: WarningKind;
  rows: number[];
  count?: number;
  message: string;
}

export interface SkeletonService {
  name: string;
  group: string;
  namespace: string;
  slot: number;
}

export interface Skeleton {
  traceId: string;
  start: string;
  duration: number;
  maybeIncomplete: boolean;
  complete?: boolean;
  reason?: string;
  away?: boolean;
  spanCount: number;
  errorCount: number;
  depth: number;
  services: SkeletonService[];
  names: string[];
  spans: {
    id: string[];
    parent: number[];
    start: number[];
    duration: number[];
    service: number[];
    name: number[];
    kind: number[];
    flags: number[];
    hop: number[];
  };
  warnings: Warning[];
}

export interface HopEnd {
  kind: string;
  namespace: string;
  name: string;
  service?: string;
  version?: string;
  pod?: string;
  node?: string;
}

export type Stage = "caller" | "caller_proxy" | "callee_proxy" | "callee";

/** One call of a trace, as up to four places saw it. */
export interface Hop {
  hop: number;
  from: HopEnd;
  to: HopEnd;
  start: string;
  duration: number;
  failed: boolean;
  protocol?: string;
  method?: string;
  path?: string;
  code?: string;
  headers?: "b3" | "w3c";
  mtls: "unknown" | "on" | "off";
  sharedId?: boolean;
  cluster?: {
    direction?: string;
    port?: number;
    subset?: string;
    host?: string;
    passthrough?: boolean;
    blackhole?: boolean;
  };
  upstream?: string;
  rows: { row: number; spanId: string; stage: Stage }[];
  parts: { name: string; duration: number }[];
  attempts: { row: number; start: string; duration: number; failed: boolean; flag?: string; code?: string }[];
  flags: { row: number; flag: string; meaning?: string; cause?: string }[];
  missing: ("caller" | "callee")[];
}

export interface Hops {
  traceId: string;
  maybeIncomplete: boolean;
  items: Hop[];
  clocks: Clock[];
  /** Index of the clock of each row; -1 of placeholders. */
  clockOf: number[];
  complete: boolean;
  reason?: string;
  away?: boolean;
}

/** The clock of a place against the root's. */
export interface Clock {
  name: string;
  /** Nanoseconds to add to fit the root's clock; 0 where raw times are possible. */
  shift: number;
  low: number;
  high: number;
  /** Calls that show it. */
  pairs: number;
  linked: boolean;
  note?: string;
}

/** Answer of a TraceQL metrics query for one moment. */
export interface Instant {
  series?: { labels?: { key: string; value?: { doubleValue?: number } }[]; value?: number }[];
}

export type ValueType = "string" | "int" | "double" | "bool" | "bytes" | "array" | "kvlist" | "null";

export interface Attribute {
  key: string;
  type: ValueType;
  value: unknown;
}

export interface SpanEvent {
  time?: string;
  name?: string;
  attributes?: Attribute[];
  dropped?: number;
}

export interface SpanLink {
  traceId?: string;
  spanId?: string;
  traceState?: string;
  attributes?: Attribute[];
  dropped?: number;
}

export interface Span {
  row: number;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: KindName;
  start: string;
  end?: string;
  duration: number;
  status: "unset" | "ok" | "error";
  statusMessage?: string;
  service: string;
  group?: string;
  namespace?: string;
  weight?: number;
  traceState?: string;
  flags?: number;
  scope?: { name?: string; version?: string; attributes?: Attribute[] };
  attributes: Attribute[];
  resource: Attribute[];
  events: SpanEvent[];
  links: SpanLink[];
  droppedAttributes?: number;
  droppedEvents?: number;
  droppedLinks?: number;
}

/** The spans of a trace that carry a text; spanIds are the first of count. */
export interface Found {
  count: number;
  spanIds: string[];
}

export interface Receiver {
  protocol: "zipkin" | "otlp_grpc" | "otlp_http";
  address: string;
  spansPerSecond: number;
  spans: number;
  lastTime?: string;
  refused: Record<string, number>;
  misuses?: Record<string, number>;
}

export interface Status {
  version: string;
  commit: string;
  uptime: number;
  now: string;
  receivers: Receiver[];
  store: {
    kind?: string;
    spans?: number;
    traces?: number;
    bytes?: number;
    limitBytes?: number;
    diskBytes?: number;
    segments?: {
      files?: number;
      bytes?: number;
      bytesPerHour?: number;
      dueBytes?: number;
      /** Until the oldest spans go because of the disk limit; negative is never. */
      fullInNs?: number;
      /** How long spans will be held at the present rate; negative is for ever. */
      holdsNs?: number;
      questions?: number;
      blocksRead?: number;
      blocksPassed?: number;
      hours?: { hour?: string; spans?: number; bytes?: number }[];
    };
    queue?: {
      spans?: number;
      /** Of these, on the disk only: they cannot be read before they are sent. */
      hiddenSpans?: number;
      bytes?: number;
      limitBytes?: number;
      /** Receipt of the oldest span that waits. */
      oldest?: string;
      sentSpans?: number;
      failures?: number;
      lastError?: string;
      failedAt?: string;
      poisonSpans?: number;
      poisonFile?: string;
      unreadableSpans?: number;
    };
    bucket?: BucketStatus;
    evictedTraces?: number;
    oldest?: string;
    refusing?: string;
    damaged?: string[];
  };
  listeners: { name?: string; address?: string; tls?: boolean; authenticated?: boolean }[];
  forward?: ForwardStatus;
}

/** Files of spans in object storage. */
export interface BucketStatus {
  address?: string;
  /** Another process writes. */
  readOnly?: boolean;
  segments?: number;
  bytes?: number;
  /** Of these, not on the disk too. */
  farSegments?: number;
  waitingSegments?: number;
  waitingBytes?: number;
  /** Receipt of the oldest span that is not in the bucket. */
  since?: string;
  uploads?: number;
  failures?: number;
  lastError?: string;
  /** When the manifest was last written, or looked for by a reader. */
  checkedAt?: string;
  /** Why nothing is uploaded any more. */
  lost?: string;
  cacheBytes?: number;
  cacheHits?: number;
  fetches?: number;
  fetchedBytes?: number;
}

/** Copies of accepted spans for other backends. */
export interface ForwardStatus {
  bytes?: number;
  limitBytes?: number;
  damaged?: string[];
  targets?: ForwardTarget[];
}

export interface ForwardTarget {
  name: string;
  address?: string;
  spans?: number;
  /** Receipt of the oldest span that waits. */
  oldest?: string;
  sentSpans?: number;
  refusedSpans?: number;
  /** That went because the disk's limit was reached. */
  droppedSpans?: number;
  unreadableSpans?: number;
  failures?: number;
  lastError?: string;
  lastRefusal?: string;
}

export interface Receipt {
  workload: string;
  sender?: string;
  protocol: string;
  spans: number;
  requests: number;
  spansPerRequest?: number;
  lastTime: string;
  refused: Record<string, number>;
  misuses: Record<string, number>;
}

export interface Reject {
  time?: string;
  sender?: string;
  protocol?: string;
  reason?: string;
  message?: string;
  bytes?: number;
  head?: string;
}

export interface Receipts {
  items?: Receipt[];
  rejects?: Reject[];
}

export type ErrorKind =
  | "invalid"
  | "notFound"
  | "tooLarge"
  | "overloaded"
  | "unsupported"
  | "unauthenticated"
  | "forbidden"
  | "expired"
  | "internal"
  /** Ours: the server has no such path, so it is of another version than this page. */
  | "otherVersion"
  /** Ours: no answer at all, or one that is not the API's. */
  | "network";
