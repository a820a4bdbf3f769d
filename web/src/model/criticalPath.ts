import { flag, type Trace } from "./trace";

/** A part of the critical path: while it lasts, this row is what the trace waits for. */
export interface Piece {
  row: number;
  from: number;
  to: number;
}

/**
 * criticalPath walks back from the end of the longest root: the child that ended last before that
 * moment is what its parent waited for, and so on inside it; the gaps between are the parent's own.
 * Of a child that began before its parent or outlives it, only the common time counts.
 */
export function criticalPath(t: Trace): Piece[] {
  let root = -1;
  for (let r = 0; r < t.n; r++) {
    if (t.parent[r] === -1 && (root < 0 || t.duration[r]! > t.duration[root]!)) root = r;
  }
  if (root < 0) return [];
  const out: Piece[] = [];
  const stack: { row: number; from: number; until: number }[] = [
    { row: root, from: t.start[root]!, until: t.start[root]! + t.duration[root]! },
  ];
  const children: number[] = [];
  while (stack.length) {
    const { row, from, until } = stack.pop()!;
    children.length = 0;
    for (let c = row + 1; c < t.end[row]!; c = t.end[c]!) {
      if (!(t.flags[c]! & flag.missing)) children.push(c);
    }
    children.sort((a, b) => t.start[b]! + t.duration[b]! - (t.start[a]! + t.duration[a]!) || b - a);
    let at = until;
    for (const c of children) {
      const start = Math.max(t.start[c]!, from);
      const end = Math.min(t.start[c]! + t.duration[c]!, until);
      if (end > at || end <= start) continue;
      if (end < at) out.push({ row, from: end, to: at });
      stack.push({ row: c, from: start, until: end });
      at = start;
    }
    if (at > from) out.push({ row, from, to: at });
  }
  return out.filter((p) => p.to > p.from).sort((a, b) => a.from - b.from);
}

/** The pieces as columns, which a worker can hand over: a large trace has a hundred thousand of them. */
export interface Path {
  row: Int32Array;
  from: Float64Array;
  to: Float64Array;
}

export function packPath(pieces: readonly Piece[]): Path {
  return {
    row: Int32Array.from(pieces, (p) => p.row),
    from: Float64Array.from(pieces, (p) => p.from),
    to: Float64Array.from(pieces, (p) => p.to),
  };
}

/** shares sums the path by service index, largest first. */
export function shares(t: Trace, path: Path): { service: number; time: number }[] {
  const sum = new Map<number, number>();
  for (let i = 0; i < path.row.length; i++) {
    const s = t.service[path.row[i]!]!;
    sum.set(s, (sum.get(s) ?? 0) + path.to[i]! - path.from[i]!);
  }
  return [...sum].map(([service, time]) => ({ service, time })).sort((a, b) => b.time - a.time);
}
