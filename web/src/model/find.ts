import { spanId, type Trace } from "./trace";

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
