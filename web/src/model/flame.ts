import { flag, type Trace } from "./trace";

/** A summed flame graph: nodes in depth first order, a parent before its children. */
export interface Flame {
  count: number;
  /** First row of the trace with this call path: it names the node. */
  row: Int32Array;
  parent: Int32Array;
  depth: Int32Array;
  /** Node after the last descendant. */
  end: Int32Array;
  /** Where the node begins and how wide it is: self times of the node and all below, in nanoseconds. */
  start: Float64Array;
  value: Float64Array;
  self: Float64Array;
  spans: Int32Array;
  errors: Int32Array;
  deepest: number;
}

/**
 * sumFlame sums spans by call path: the services and names from the root down. A node is as wide as the
 * time that it and what it called worked, so parallel children lie beside each other; the widest child stands first.
 * Placeholders are looked through.
 */
export function sumFlame(t: Trace, self: Float64Array): Flame {
  const { n } = t;
  const names = t.names.length;
  // Nodes in order of discovery: a parent has a smaller number than its children.
  const node = new Int32Array(n).fill(-1);
  const byKey = new Map<string, number>();
  const row: number[] = [];
  const parent: number[] = [];
  const own: number[] = [];
  const spans: number[] = [];
  const errors: number[] = [];
  for (let r = 0; r < n; r++) {
    const p = t.parent[r]!;
    const above = p < 0 ? -1 : node[p]!;
    if (t.flags[r]! & flag.missing) {
      node[r] = above;
      continue;
    }
    const key = `${above} ${t.service[r]! * names + t.name[r]!}`;
    let i = byKey.get(key);
    if (i === undefined) {
      i = row.length;
      byKey.set(key, i);
      row.push(r);
      parent.push(above);
      own.push(0);
      spans.push(0);
      errors.push(0);
    }
    node[r] = i;
    own[i]! += self[r]!;
    spans[i]!++;
    if (t.flags[r]! & flag.error) errors[i]!++;
  }
  const count = row.length;
  const value = Float64Array.from(own);
  for (let i = count - 1; i >= 0; i--) if (parent[i]! >= 0) value[parent[i]!]! += value[i]!;

  // Children of each node, the widest first; then depth first with a stack.
  const children: number[][] = Array.from({ length: count + 1 }, () => []);
  for (let i = 0; i < count; i++) children[parent[i]! + 1]!.push(i);
  for (const list of children) if (list.length > 1) list.sort((a, b) => value[b]! - value[a]! || a - b);
  const out: Flame = {
    count,
    row: new Int32Array(count),
    parent: new Int32Array(count),
    depth: new Int32Array(count),
    end: new Int32Array(count),
    start: new Float64Array(count),
    value: new Float64Array(count),
    self: new Float64Array(count),
    spans: new Int32Array(count),
    errors: new Int32Array(count),
    deepest: 0,
  };
  const stack: [node: number, parent: number, start: number][] = [];
  const push = (list: readonly number[], above: number, from: number) => {
    let x = from;
    const starts = list.map((i) => {
      const at = x;
      x += value[i]!;
      return at;
    });
    for (let k = list.length - 1; k >= 0; k--) stack.push([list[k]!, above, starts[k]!]);
  };
  push(children[0]!, -1, 0);
  let at = 0;
  while (stack.length) {
    const [i, above, start] = stack.pop()!;
    const depth = above < 0 ? 0 : out.depth[above]! + 1;
    out.row[at] = row[i]!;
    out.parent[at] = above;
    out.depth[at] = depth;
    out.end[at] = at + 1;
    out.start[at] = start;
    out.value[at] = value[i]!;
    out.self[at] = own[i]!;
    out.spans[at] = spans[i]!;
    out.errors[at] = errors[i]!;
    out.deepest = Math.max(out.deepest, depth);
    push(children[i + 1]!, at, start);
    at++;
  }
  for (let i = count - 1; i >= 0; i--) {
    const p = out.parent[i]!;
    if (p >= 0 && out.end[i]! > out.end[p]!) out.end[p] = out.end[i]!;
  }
  return out;
}

/** A flame graph in order of time: each row in a lane of its own height, below its parent's. */
export interface Lanes {
  count: number;
  /** Lane of each row; -1 of placeholders. */
  lane: Int32Array;
  /** Rows lane by lane, each lane by start: rows of lane l are order[offset[l]] to order[offset[l + 1]]. */
  order: Int32Array;
  offset: Int32Array;
}

/**
 * layLanes puts every span into the first lane below its parent's where nothing runs at its time.
 * O(n log n): the first free lane is found in a tree of the lanes' ends.
 */
export function layLanes(t: Trace): Lanes {
  const { n } = t;
  const lane = new Int32Array(n).fill(-1);
  // When a row may be placed: after its parent, also where its clock says that it began before.
  const due = new Float64Array(n);
  const rows: number[] = [];
  for (let r = 0; r < n; r++) {
    const p = t.parent[r]!;
    due[r] = p < 0 ? t.start[r]! : Math.max(t.start[r]!, due[p]!);
    if (!(t.flags[r]! & flag.missing)) rows.push(r);
  }
  const sorted = Int32Array.from(rows).sort((a, b) => due[a]! - due[b]! || a - b);
  // ends[size + l] is when lane l is free; inner nodes hold the least of their two halves.
  let size = 1;
  while (size < rows.length + 1) size *= 2;
  const ends = new Float64Array(2 * size).fill(Number.NEGATIVE_INFINITY);
  let lanes = 0;
  const perLane = new Int32Array(rows.length + 2);
  for (const r of sorted) {
    let above = t.parent[r]!;
    while (above >= 0 && lane[above]! < 0) above = t.parent[above]!;
    const l = firstFree(ends, size, above < 0 ? 0 : lane[above]! + 1, t.start[r]!);
    lane[r] = l;
    lanes = Math.max(lanes, l + 1);
    perLane[l + 1]!++;
    let i = size + l;
    // What takes no time still takes its place.
    ends[i] = Math.max(ends[i]!, t.start[r]! + Math.max(1, t.duration[r]!));
    for (i >>= 1; i >= 1; i >>= 1) ends[i] = Math.min(ends[2 * i]!, ends[2 * i + 1]!);
  }
  const offset = new Int32Array(lanes + 1);
  for (let l = 0; l < lanes; l++) offset[l + 1] = offset[l]! + perLane[l + 1]!;
  const fill = offset.slice();
  const order = new Int32Array(rows.length);
  for (const r of sorted) order[fill[lane[r]!]!++] = r;
  return { count: lanes, lane, order, offset };
}

/** The first lane from `from` on that is free at a time. */
function firstFree(ends: Float64Array, size: number, from: number, time: number): number {
  let i = size + from;
  // Up to the first node whose lanes are all right of `from` and one of which is free, then down to it.
  for (;;) {
    if (ends[i]! <= time) break;
    while (i & 1) i >>= 1;
    if (i === 0) return size - 1; // cannot be: there are more lanes than rows
    i++;
  }
  while (i < size) i = ends[2 * i]! <= time ? 2 * i : 2 * i + 1;
  return i - size;
}
