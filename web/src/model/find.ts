import type { Attribute, Span } from "../api/types";
import { valueText } from "./attributes";
import { flag, spanId, type Trace } from "./trace";

/**
 * findRows gives the rows whose service, operation or span id contains the text, in order. Names are
 * matched once per distinct name, so 50,000 rows cost two table look-ups each.
 */
export function findRows(t: Trace, text: string): Int32Array {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return new Int32Array(0);
  const service = t.services.map((s) => s.name.toLowerCase().includes(wanted));
  const name = t.names.map((n) => n.toLowerCase().includes(wanted));
  const byId = /^[0-9a-f]{4,16}$/.test(wanted);
  const hits = new Int32Array(t.n);
  let count = 0;
  for (let r = 0; r < t.n; r++) {
    if (service[t.service[r]!] || name[t.name[r]!] || (byId && spanId(t, r).includes(wanted)))
      hits[count++] = r;
  }
  return hits.slice(0, count);
}

/** withSpans adds to sorted rows those of spans by id, and keeps them sorted. */
export function withSpans(t: Trace, rows: Int32Array, ids: readonly string[]): Int32Array {
  if (ids.length === 0) return rows;
  const byLow = new Map<number, Set<number>>();
  for (const id of ids) {
    const low = Number.parseInt(id.slice(8), 16);
    const high = Number.parseInt(id.slice(0, 8), 16);
    const same = byLow.get(low);
    if (same) same.add(high);
    else byLow.set(low, new Set([high]));
  }
  const out = new Int32Array(t.n);
  let count = 0;
  let next = 0;
  for (let r = 0; r < t.n; r++) {
    const there = rows[next] === r;
    if (there) next++;
    if (there || (!(t.flags[r]! & flag.missing) && byLow.get(t.idLow[r]!)?.has(t.idHigh[r]!)))
      out[count++] = r;
  }
  return out.slice(0, count);
}

/** carries tells whether a span has the text where the server's find looks for it; for traces of files. */
export function carries(s: Span, text: string): boolean {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return false;
  const has = (v: string | undefined) => v?.toLowerCase().includes(wanted);
  const pair = (a: Attribute) => {
    if (a.type === "bytes" || a.type === "kvlist" || a.type === "null") return has(`${a.key}=`);
    if (Array.isArray(a.value)) return a.value.some((v) => has(`${a.key}=${String(v)}`));
    return has(`${a.key}=${valueText(a)}`);
  };
  return (
    has(s.statusMessage) ||
    [s.attributes, s.resource, s.scope?.attributes ?? []].some((list) => list.some(pair)) ||
    s.events.some((e) => has(e.name) || e.attributes?.some(pair)) ||
    s.links.some((l) => l.attributes?.some(pair))
  );
}

/** errorRows lists the rows that failed. */
export function errorRows(t: Trace): Int32Array {
  const out = new Int32Array(t.n);
  let count = 0;
  for (let r = 0; r < t.n; r++) if (t.flags[r]! & 1) out[count++] = r;
  return out.slice(0, count);
}

/** step gives the next (or, with -1, the previous) of sorted rows from a row on, around the ends. */
export function step(rows: Int32Array, from: number, direction: 1 | -1): number {
  if (rows.length === 0) return -1;
  if (direction > 0) {
    for (const r of rows) if (r > from) return r;
    return rows[0]!;
  }
  for (let i = rows.length - 1; i >= 0; i--) if (rows[i]! < from) return rows[i]!;
  return rows[rows.length - 1]!;
}
