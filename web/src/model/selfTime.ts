import { flag, type Trace } from "./trace";

/**
 * selfTimes gives for each row the time in which it ran and none of its children did, in nanoseconds.
 * Children are cut to their parent's time; those that run at once count once. Placeholders have none.
 */
export function selfTimes(t: Trace): Float64Array {
  const { n } = t;
  const self = new Float64Array(n);
  const children: number[] = [];
  for (let r = 0; r < n; r++) {
    if (t.flags[r]! & flag.missing) continue;
    const begin = t.start[r]!;
    const end = begin + t.duration[r]!;
    children.length = 0;
    let sorted = true;
    for (let c = r + 1; c < t.end[r]!; c = t.end[c]!) {
      if (t.flags[c]! & flag.missing) continue;
      if (children.length && t.start[c]! < t.start[children[children.length - 1]!]!) sorted = false;
      children.push(c);
    }
    // Rows come by start, but not after their times were corrected.
    if (!sorted) children.sort((a, b) => t.start[a]! - t.start[b]!);
    let covered = 0;
    let until = begin;
    for (const c of children) {
      const from = Math.max(until, t.start[c]!);
      const to = Math.min(end, t.start[c]! + t.duration[c]!);
      if (to <= from) continue;
      covered += to - from;
      until = to;
    }
    self[r] = Math.max(0, t.duration[r]! - covered);
  }
  return self;
}
