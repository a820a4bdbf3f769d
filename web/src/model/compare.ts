import { computeRows } from "./rows";
import { isError, type Trace } from "./trace";

/** A call that both traces made, or one of them: spans of the same operation below the same caller. */
export interface Pair {
  /** Place in the merged tree: a parent stands before its children. */
  parent: number;
  depth: number;
  /** Rows of each trace that stand for it, folded hops as one; empty where it is not in that trace. */
  a: number[];
  b: number[];
  /** Sums over those rows, nanoseconds. */
  timeA: number;
  timeB: number;
  selfA: number;
  selfB: number;
  errorsA: number;
  errorsB: number;
  kind: Kind;
}

export const kinds = ["added", "gone", "slower", "faster", "errors", "mended", "same"] as const;
export type Kind = (typeof kinds)[number];

export interface Comparison {
  /** The merged tree, depth first. */
  pairs: Pair[];
  /** Indexes of pairs that differ, the weightiest first. */
  ranked: number[];
  /** Whether the roots are the same operation. */
  alike: boolean;
}

/** A difference below this share of the longer trace is none. */
const least = 0.01;

const ids =
  /\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b|(?<![:\w])\d+\b/gi;

/** operationOf is a span name without what differs from call to call: numbers, uuids, long hex. Ports stay. */
export function operationOf(name: string): string {
  return name.replace(ids, "{id}");
}

/** One trace as the comparison sees it: hops folded, so that a sidecar that is missing on one side changes nothing. */
interface Side {
  trace: Trace;
  count: number;
  row: Int32Array;
  /** By position among the rows in sight. */
  parent: Int32Array;
  key: string[];
  self: Float64Array;
  errors: Int32Array;
}

function sideOf(t: Trace): Side {
  const rows = computeRows(t, {
    hops: "folded",
    hopExcept: new Set(),
    hidden: new Set(),
    onlyErrors: false,
    level: undefined,
    except: new Set(),
  });
  const { count } = rows;
  const operations = t.names.map(operationOf);
  const key: string[] = [];
  const errors = new Int32Array(count);
  // Ends of the time that children of a row have taken so far; the rows come by start.
  const self = new Float64Array(count);
  const until = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const r = rows.row[i]!;
    const s = t.services[t.service[r]!];
    // A workload is its group, so that the sidecar's and the application's name of it are one.
    key.push(`${s?.group || s?.name || ""}\n${operations[t.name[r]!] ?? ""}`);
    for (let m = r; m >= 0; m = m === r ? rows.hops.firstFolded[r]! : rows.hops.nextFolded[m]!) {
      if (isError(t, m)) errors[i] = 1;
    }
    self[i] = t.duration[r]!;
    until[i] = t.start[r]!;
    const p = rows.parent[i]!;
    if (p < 0) continue;
    const end = t.start[rows.row[p]!]! + t.duration[rows.row[p]!]!;
    const from = Math.max(until[p]!, t.start[r]!);
    const to = Math.min(end, t.start[r]! + t.duration[r]!);
    if (to > from) {
      self[p]! -= to - from;
      until[p] = to;
    }
  }
  for (let i = 0; i < count; i++) self[i] = Math.max(0, self[i]!);
  return { trace: t, count, row: rows.row, parent: rows.parent, key, self, errors };
}

/**
 * compareTraces aligns two traces by hop: below the same caller, calls of the same service and operation are one pair,
 * however often they were made, and the sums of both sides are compared. Linear in the rows of both.
 */
export function compareTraces(a: Trace, b: Trace): Comparison {
  const sides = [sideOf(a), sideOf(b)] as const;
  const pairs: Pair[] = [];
  const at = new Map<string, number>();
  for (const [which, side] of sides.entries()) {
    const pairOf = new Int32Array(side.count);
    for (let i = 0; i < side.count; i++) {
      const above = side.parent[i]! < 0 ? -1 : pairOf[side.parent[i]!]!;
      const key = `${above}\n${side.key[i]}`;
      let k = at.get(key);
      if (k === undefined) {
        k = pairs.length;
        at.set(key, k);
        pairs.push({
          parent: above,
          depth: above < 0 ? 0 : pairs[above]!.depth + 1,
          a: [],
          b: [],
          timeA: 0,
          timeB: 0,
          selfA: 0,
          selfB: 0,
          errorsA: 0,
          errorsB: 0,
          kind: "same",
        });
      }
      pairOf[i] = k;
      const pair = pairs[k]!;
      const r = side.row[i]!;
      if (which === 0) {
        pair.a.push(r);
        pair.timeA += side.trace.duration[r]!;
        pair.selfA += side.self[i]!;
        pair.errorsA += side.errors[i]!;
      } else {
        pair.b.push(r);
        pair.timeB += side.trace.duration[r]!;
        pair.selfB += side.self[i]!;
        pair.errorsB += side.errors[i]!;
      }
    }
  }
  const longer = Math.max(1, a.traceDuration, b.traceDuration);
  for (const p of pairs) p.kind = kindOf(p, longer);
  const ordered = depthFirst(pairs);
  const ranked = ordered
    .map((p, i) => ({ p, i, weight: weightOf(p, longer) }))
    // Of a subtree that is new or gone only its top is named: the rest follows from it.
    .filter(({ p }) => p.kind !== "same" && (ordered[p.parent]?.kind !== p.kind || !oneSided(p)))
    .sort((x, y) => y.weight - x.weight || x.i - y.i)
    .map((x) => x.i);
  return {
    pairs: ordered,
    ranked,
    alike: ordered.some((p) => p.depth === 0 && p.a.length > 0 && p.b.length > 0),
  };
}

function kindOf(p: Pair, longer: number): Kind {
  if (p.a.length === 0) return "added";
  if (p.b.length === 0) return "gone";
  if (p.errorsB > p.errorsA) return "errors";
  if (p.errorsB < p.errorsA) return "mended";
  // By the own time, so that one slow call does not make everything above it slow.
  const delta = p.selfB - p.selfA;
  if (Math.abs(delta) < least * longer) return "same";
  return delta > 0 ? "slower" : "faster";
}

const oneSided = (p: Pair) => p.kind === "added" || p.kind === "gone";

/** How much a difference explains, in parts of the longer trace; errors weigh as much as half of it. */
function weightOf(p: Pair, longer: number): number {
  if (oneSided(p)) return (p.timeA + p.timeB) / longer + (p.errorsA + p.errorsB > 0 ? 0.5 : 0);
  return Math.abs(p.selfB - p.selfA) / longer + (p.errorsA === p.errorsB ? 0 : 0.5);
}

/** Pairs in tree order with parents renumbered; children keep the order in which A made them, what is new follows. */
function depthFirst(pairs: readonly Pair[]): Pair[] {
  const children: number[][] = Array.from({ length: pairs.length + 1 }, () => []);
  for (const [i, p] of pairs.entries()) children[p.parent + 1]!.push(i);
  const out: Pair[] = [];
  const stack: [index: number, parent: number][] = [];
  const push = (list: readonly number[], parent: number) => {
    for (let k = list.length - 1; k >= 0; k--) stack.push([list[k]!, parent]);
  };
  push(children[0]!, -1);
  while (stack.length) {
    const [i, parent] = stack.pop()!;
    const here = out.length;
    out.push({ ...pairs[i]!, parent });
    push(children[i + 1]!, here);
  }
  return out;
}
