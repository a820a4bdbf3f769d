import type { Skeleton, SkeletonService, Warning } from "../api/types";

/** Bits of a row's flags, as the API gives them. */
export const flag = {
  error: 1,
  proxy: 2,
  missing: 4,
  sharedId: 8,
  duplicates: 16,
  outsideParent: 32,
  impossibleTime: 64,
  serviceDerived: 128,
  nameDerived: 256,
  cut: 512,
  twinId: 1024,
  statusOk: 2048,
} as const;

export const kindNames = ["unspecified", "internal", "server", "client", "producer", "consumer"] as const;

/** The columns of a trace in typed arrays: cheap to hold, to scan, and to hand over from a worker. */
export interface Columns {
  /** Span id as two halves of 32 bits. */
  idHigh: Uint32Array;
  idLow: Uint32Array;
  /** Row of the parent, always smaller than the own row; -1 for a root. */
  parent: Int32Array;
  /** Nanoseconds after the trace's start. */
  start: Float64Array;
  duration: Float64Array;
  service: Int32Array;
  name: Int32Array;
  kind: Uint8Array;
  flags: Uint16Array;
  /** Number of the hop, -1 for a span that shares none. */
  hop: Int32Array;
}

/** Everything of the skeleton that is not a column. */
export interface Head {
  traceId: string;
  /** Instant at which the first span started. */
  traceStart: string;
  /** From there to the end of the last span, nanoseconds. */
  traceDuration: number;
  maybeIncomplete: boolean;
  complete: boolean;
  reason: string | undefined;
  away?: boolean | undefined;
  spanCount: number;
  errorCount: number;
  depth: number;
  services: SkeletonService[];
  names: string[];
  warnings: Warning[];
}

/** A trace as the page works with it. Rows are in tree order, depth first, siblings by start. */
export interface Trace extends Head, Columns {
  /** Number of rows. */
  n: number;
  /** Depth of a row, 0 for roots. */
  level: Int32Array;
  /** Row after the last descendant: the subtree of r is [r, end[r]). */
  end: Int32Array;
  /** errorsBefore[r] is the number of rows before r that are errors; one longer than the rows. */
  errorsBefore: Int32Array;
}

/** columnsOf packs a skeleton. Rows with a parent that is no earlier row become roots. */
/** Whether asking again may give more spans. */
export function mayGrow(t: { maybeIncomplete: boolean; complete?: boolean }): boolean {
  return t.maybeIncomplete || t.complete === false;
}

export function columnsOf(s: Skeleton): { head: Head; columns: Columns } {
  const { spans } = s;
  const n = spans.id.length;
  const idHigh = new Uint32Array(n);
  const idLow = new Uint32Array(n);
  const parent = Int32Array.from(spans.parent);
  for (let r = 0; r < n; r++) {
    const id = spans.id[r]!;
    idHigh[r] = Number.parseInt(id.slice(0, 8), 16);
    idLow[r] = Number.parseInt(id.slice(8), 16);
    if (!(parent[r]! < r) || parent[r]! < -1) parent[r] = -1;
  }
  return {
    head: {
      traceId: s.traceId,
      traceStart: s.start,
      traceDuration: s.duration,
      maybeIncomplete: s.maybeIncomplete,
      complete: s.complete ?? true,
      reason: s.reason,
      away: s.away,
      spanCount: s.spanCount,
      errorCount: s.errorCount,
      depth: s.depth,
      services: s.services,
      names: s.names,
      warnings: s.warnings,
    },
    columns: {
      idHigh,
      idLow,
      parent,
      start: Float64Array.from(spans.start),
      duration: Float64Array.from(spans.duration),
      service: Int32Array.from(spans.service),
      name: Int32Array.from(spans.name),
      kind: Uint8Array.from(spans.kind),
      flags: Uint16Array.from(spans.flags),
      hop: Int32Array.from(spans.hop),
    },
  };
}

/** makeTrace derives depth, subtree ends and error counts: one pass forward, one back. */
export function makeTrace(head: Head, columns: Columns): Trace {
  const n = columns.parent.length;
  const level = new Int32Array(n);
  const end = new Int32Array(n);
  const errorsBefore = new Int32Array(n + 1);
  for (let r = 0; r < n; r++) {
    const p = columns.parent[r]!;
    level[r] = p < 0 ? 0 : level[p]! + 1;
    end[r] = r + 1;
    errorsBefore[r + 1] = errorsBefore[r]! + (columns.flags[r]! & flag.error);
  }
  for (let r = n - 1; r >= 0; r--) {
    const p = columns.parent[r]!;
    if (p >= 0 && end[r]! > end[p]!) end[p] = end[r]!;
  }
  return { ...head, ...columns, n, level, end, errorsBefore };
}

export function traceOf(s: Skeleton): Trace {
  const { head, columns } = columnsOf(s);
  return makeTrace(head, columns);
}

export function spanId(t: Columns, row: number): string {
  return hex8(t.idHigh[row]!) + hex8(t.idLow[row]!);
}

function hex8(n: number): string {
  return n.toString(16).padStart(8, "0");
}

/**
 * spanRef names a row in a URL: its span id, and for the second and later rows with the same id
 * (both halves of a shared Zipkin span) "~1", "~2" behind it.
 */
export function spanRef(t: Trace, row: number): string {
  let earlier = 0;
  for (let r = 0; r < row; r++) {
    if (t.idLow[r] === t.idLow[row] && t.idHigh[r] === t.idHigh[row]) earlier++;
  }
  return earlier ? `${spanId(t, row)}~${earlier}` : spanId(t, row);
}

/** rowOfRef is the row that spanRef named; -1 if the trace has none such. */
export function rowOfRef(t: Trace, ref: string | undefined): number {
  if (!ref) return -1;
  const [id = "", nth = "0"] = ref.split("~");
  const high = Number.parseInt(id.slice(0, 8), 16);
  const low = Number.parseInt(id.slice(8), 16);
  let left = Number(nth);
  for (let r = 0; r < t.n; r++) {
    if (t.idLow[r] === low && t.idHigh[r] === high && left-- === 0) return r;
  }
  return -1;
}

/** rowsOfRefs resolves many references in one scan. */
export function rowsOfRefs(t: Trace, refs: readonly string[]): Set<number> {
  const out = new Set<number>();
  if (refs.length > 8) {
    const wanted = new Set(refs);
    const seen = new Map<string, number>();
    // By numbers first: making the text of every id is what costs.
    const low = new Set(refs.map((ref) => Number.parseInt(ref.slice(8, 16), 16)));
    for (let r = 0; r < t.n; r++) {
      if (!low.has(t.idLow[r]!)) continue;
      const id = spanId(t, r);
      const nth = seen.get(id) ?? 0;
      seen.set(id, nth + 1);
      if (wanted.has(nth ? `${id}~${nth}` : id)) out.add(r);
    }
    return out;
  }
  for (const ref of refs) {
    const r = rowOfRef(t, ref);
    if (r >= 0) out.add(r);
  }
  return out;
}

export function isError(t: Columns, row: number): boolean {
  return (t.flags[row]! & flag.error) !== 0;
}

/** Errors in the subtree of a row, the row itself included. */
export function subtreeErrors(t: Trace, row: number): number {
  return t.errorsBefore[t.end[row]!]! - t.errorsBefore[row]!;
}

/** uncovered is the time of the trace during which no span was running: gaps, in nanoseconds. */
export function uncovered(t: Trace): number {
  const order = Int32Array.from({ length: t.n }, (_, r) => r).sort((a, b) => t.start[a]! - t.start[b]!);
  let gaps = 0;
  let until = 0;
  for (const r of order) {
    if (t.flags[r]! & flag.missing) continue;
    if (t.start[r]! > until) gaps += t.start[r]! - until;
    until = Math.max(until, t.start[r]! + t.duration[r]!);
  }
  return gaps + Math.max(0, t.traceDuration - until);
}

/** firstReal is the row that names the trace: the first that arrived. A root that never did has nothing to say. */
export function firstReal(t: Trace): number {
  let r = 0;
  while (r < t.n - 1 && t.flags[r]! & flag.missing) r++;
  return r;
}

/** hasDoubtfulTimes tells whether a span lies outside of its parent, as clocks that differ make it look. */
export function hasDoubtfulTimes(t: Trace): boolean {
  for (let r = 0; r < t.n; r++) if (t.flags[r]! & flag.outsideParent) return true;
  return t.warnings.some((w) => w.kind === "clock_skew");
}
