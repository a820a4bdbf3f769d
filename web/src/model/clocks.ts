import type { Clock } from "../api/types";
import { flag, type Trace } from "./trace";

/** shiftedClocks are those that differ. */
export function shiftedClocks(clocks: readonly Clock[]): Clock[] {
  return clocks.filter((c) => c.shift !== 0);
}

/**
 * correctClocks gives the trace by the root's clock: a view, raw times stay as they are. Times begin
 * again at 0 with the earliest span; "outside its parent" stays only where it still holds.
 */
export function correctClocks(t: Trace, clocks: readonly Clock[], clockOf: readonly number[]): Trace {
  if (clockOf.length !== t.n || shiftedClocks(clocks).length === 0) return t;
  const start = new Float64Array(t.n);
  let first = Number.POSITIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  for (let r = 0; r < t.n; r++) {
    start[r] = t.start[r]! + (clocks[clockOf[r]!]?.shift ?? 0);
    if (t.flags[r]! & flag.missing) continue;
    first = Math.min(first, start[r]!);
    last = Math.max(last, start[r]! + t.duration[r]!);
  }
  if (!Number.isFinite(first)) return t;
  const flags = t.flags.slice();
  for (let r = 0; r < t.n; r++) {
    // A placeholder has no clock: it stays where it is, inside of the trace.
    start[r] = Math.max(0, start[r]! - first);
    const p = t.parent[r]!;
    if (p >= 0 && flags[r]! & flag.outsideParent) {
      const within = start[r]! >= start[p]! && start[r]! <= start[p]! + t.duration[p]!;
      if (within) flags[r] = flags[r]! & ~flag.outsideParent;
    }
  }
  return {
    ...t,
    start,
    flags,
    traceStart: (BigInt(t.traceStart) + BigInt(Math.round(first))).toString(),
    traceDuration: last - first,
  };
}
