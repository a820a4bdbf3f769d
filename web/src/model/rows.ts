import { flag, isError, type Trace } from "./trace";
import type { HopMode } from "./traceUrl";

/** What decides which rows stand in the waterfall. */
export interface RowRules {
  hops: HopMode;
  /** First rows of hops that do the opposite of `hops` (never in mode "none"). */
  hopExcept: ReadonlySet<number>;
  /** Services (by index) that are left out; their children move up. */
  hidden: ReadonlySet<number>;
  /** Only errors and what leads to them. */
  onlyErrors: boolean;
  /** Rows at this level and deeper are folded away; undefined unfolds all. */
  level: number | undefined;
  /** Rows whose folding is the opposite of what the level says. */
  except: ReadonlySet<number>;
}

/** The visible rows in order, each with its place in the displayed tree. */
export interface Rows {
  count: number;
  /** Row of the trace. */
  row: Int32Array;
  level: Int32Array;
  /** Position of the parent among the visible rows, -1 for roots. */
  parent: Int32Array;
  /** Children in the displayed tree, also when folded. */
  children: Int32Array;
  /** Whether a row with children shows them. */
  open: Uint8Array;
  /** Place among its siblings, from 1, and how many they are. */
  place: Int32Array;
  siblings: Int32Array;
  /** Position of a row of the trace: its own, or that of the row that stands for it; -1 if out of sight. */
  position: Int32Array;
  hops: Hops;
}

/** Which spans are folded into which row. */
export interface Hops {
  /** Row that stands for this one: itself when it has a row of its own. */
  shownAs: Int32Array;
  /** First row of the hop's connected part this row belongs to; the row itself if alone. */
  top: Int32Array;
  /** Number of spans that are folded into a row, without it. */
  folded: Int32Array;
  /** Linked lists of the folded spans: firstFolded[row], then nextFolded[span]; -1 ends. */
  firstFolded: Int32Array;
  nextFolded: Int32Array;
  /** Number of spans that can be folded in the hop that starts at this row; 0 if there is nothing to fold. */
  foldable: Int32Array;
}

/**
 * foldHops decides for each hop which spans get a row. A hop is the spans that share a number and
 * hang together: the caller's own client span if it made one, both proxies, the callee's span; a
 * retried call has the callee's side several times. Spans of applications always keep their rows. A
 * callee's proxy keeps its row where no span of the callee itself stands below it, so that every
 * callee and every try is seen; a caller's proxy alone keeps its own. No hop ever vanishes.
 */
export function foldHops(t: Trace, mode: HopMode, except: ReadonlySet<number>): Hops {
  const { n } = t;
  const top = new Int32Array(n);
  const shownAs = new Int32Array(n);
  const folded = new Int32Array(n);
  const foldable = new Int32Array(n);
  const firstFolded = new Int32Array(n).fill(-1);
  const nextFolded = new Int32Array(n).fill(-1);
  const size = new Int32Array(n); // by top: spans of the hop that are not proxies of a caller
  for (let r = 0; r < n; r++) {
    const p = t.parent[r]!;
    const h = t.hop[r]!;
    top[r] = h >= 0 && p >= 0 && t.hop[p] === h ? top[p]! : r;
    if (!(t.flags[r]! & flag.proxy) || t.kind[r] === 2) size[top[r]!]!++;
  }
  // From the last row back: whether a span of the application stands at or below a row of its hop.
  const answered = new Uint8Array(n);
  const kept = new Uint8Array(n);
  for (let r = n - 1; r >= 0; r--) {
    const proxy = (t.flags[r]! & flag.proxy) !== 0;
    if (!proxy) answered[r] = 1;
    kept[r] = !proxy || (t.kind[r] === 2 ? !answered[r] : size[top[r]!] === 0 && r === top[r]) ? 1 : 0;
    const p = t.parent[r]!;
    if (answered[r] && p >= 0 && top[p] === top[r]) answered[p] = 1;
    if (!kept[r]) foldable[top[r]!]!++;
  }
  const folds = (r: number) => {
    if (foldable[top[r]!] === 0) return false;
    if (mode === "none") return true;
    return (mode === "folded") !== except.has(top[r]!);
  };
  // From the last row back, so that each dropped span meets the nearest kept one below it first.
  const below = new Int32Array(n).fill(-1);
  for (let r = n - 1; r >= 0; r--) {
    const shown = kept[r] === 1 || !folds(r);
    if (shown) below[r] = r;
    const p = t.parent[r]!;
    if (below[r]! >= 0 && p >= 0 && top[p] === top[r]) below[p] = below[r]!;
    shownAs[r] = shown ? r : below[r]!;
  }
  for (let r = 0; r < n; r++) {
    // A folded proxy without a row below it belongs to what its parent is shown as.
    if (shownAs[r]! < 0) shownAs[r] = top[r] === r ? r : shownAs[t.parent[r]!]!;
  }
  for (let r = n - 1; r >= 0; r--) {
    const as = shownAs[r]!;
    if (as === r) continue;
    folded[as]!++;
    nextFolded[r] = firstFolded[as]!;
    firstFolded[as] = r;
  }
  return { shownAs, top, folded, firstFolded, nextFolded, foldable };
}

/** computeRows lays out the visible tree. Linear but for sorting siblings that came from different parents. */
export function computeRows(
  t: Trace,
  rules: RowRules,
  /** Of the same trace and rules, where they are known already. */
  hops = foldHops(t, rules.hops, rules.hopExcept),
): Rows {
  const { n } = t;
  const { shownAs, top } = hops;
  const hidden = (r: number) => rules.hidden.size > 0 && rules.hidden.has(t.service[r]!);

  // Parent in the displayed tree. Kept members of a folded hop hang where its first span hangs, and
  // what hung below a folded span hangs below the row that stands for it. Each step leads to a hop
  // that starts earlier, or to an earlier row of the same hop, so no circle can arise.
  const parent = new Int32Array(n).fill(-1);
  const shown = new Uint8Array(n);
  for (let r = 0; r < n; r++) {
    if (shownAs[r] !== r || hidden(r)) continue;
    shown[r] = 1;
    let at = t.parent[r]!;
    while (at >= 0) {
      const as = shownAs[at]!;
      if (as !== at && top[at] === top[r]) {
        at = t.parent[at]!;
        continue;
      }
      if (!hidden(as)) {
        parent[r] = as;
        break;
      }
      at = t.parent[as === at ? at : top[at]!]!;
    }
  }
  if (rules.onlyErrors) keepErrors(t, hops, parent, shown);

  // Children by parent, roots at index n, in row order and then by start where that differs.
  const offset = new Int32Array(n + 2);
  for (let r = 0; r < n; r++) if (shown[r]) offset[slot(parent[r]!, n) + 1]!++;
  const childCount = offset.slice(1);
  for (let i = 0; i <= n; i++) offset[i + 1]! += offset[i]!;
  const child = new Int32Array(offset[n + 1]!);
  const fill = offset.slice();
  for (let r = 0; r < n; r++) if (shown[r]) child[fill[slot(parent[r]!, n)]!++] = r;
  for (let p = 0; p <= n; p++) sortByStart(t, child, offset[p]!, offset[p + 1]!);

  const total = child.length;
  const out: Rows = {
    count: 0,
    row: new Int32Array(total),
    level: new Int32Array(total),
    parent: new Int32Array(total),
    children: new Int32Array(total),
    open: new Uint8Array(total),
    place: new Int32Array(total),
    siblings: new Int32Array(total),
    position: new Int32Array(n).fill(-1),
    hops,
  };
  // Depth first with a stack of (next child, end of children) per level; no recursion, traces are deep.
  const nextChild: number[] = [offset[n]!];
  const lastChild: number[] = [offset[n + 1]!];
  const firstChild: number[] = [offset[n]!];
  const owner: number[] = [-1];
  while (nextChild.length) {
    const depth = nextChild.length - 1;
    const at = nextChild[depth]!;
    if (at >= lastChild[depth]!) {
      nextChild.pop();
      lastChild.pop();
      firstChild.pop();
      owner.pop();
      continue;
    }
    nextChild[depth] = at + 1;
    const r = child[at]!;
    const i = out.count++;
    out.row[i] = r;
    out.level[i] = depth;
    out.parent[i] = owner[depth]!;
    out.children[i] = childCount[r]!;
    out.place[i] = at - firstChild[depth]! + 1;
    out.siblings[i] = lastChild[depth]! - firstChild[depth]!;
    out.position[r] = i;
    const byRule = rules.level === undefined || depth + 1 < rules.level;
    if (childCount[r]! > 0 && byRule !== rules.except.has(r)) {
      out.open[i] = 1;
      nextChild.push(offset[r]!);
      lastChild.push(offset[r + 1]!);
      firstChild.push(offset[r]!);
      owner.push(i);
    }
  }
  for (let r = 0; r < n; r++) {
    const as = shownAs[r]!;
    if (as !== r) out.position[r] = out.position[as]!;
  }
  return out;
}

function slot(parent: number, n: number): number {
  return parent < 0 ? n : parent;
}

function keepErrors(t: Trace, hops: Hops, parent: Int32Array, shown: Uint8Array): void {
  const keep = new Uint8Array(t.n);
  for (let r = 0; r < t.n; r++) {
    if (!isError(t, r)) continue;
    for (let at = hops.shownAs[r]!; at >= 0 && !keep[at]; at = parent[at]!) keep[at] = 1;
  }
  for (let r = 0; r < t.n; r++) if (!keep[r]) shown[r] = 0;
}

function sortByStart(t: Trace, rows: Int32Array, from: number, to: number): void {
  for (let i = from + 1; i < to; i++) {
    if (t.start[rows[i]!]! < t.start[rows[i - 1]!]!) {
      rows.subarray(from, to).sort((a, b) => t.start[a]! - t.start[b]! || a - b);
      return;
    }
  }
}

/** rowHasError tells whether a visible row or a span folded into it failed. */
export function rowHasError(t: Trace, hops: Hops, row: number): boolean {
  if (isError(t, row)) return true;
  for (let m = hops.firstFolded[row]!; m >= 0; m = hops.nextFolded[m]!) if (isError(t, m)) return true;
  return false;
}

/** hopIsFolded tells for the first row of a hop (its subtree ends before `end`) whether spans of it are folded away. */
export function hopIsFolded(hops: Hops, top: number, end: number): boolean {
  for (let r = top; r < end; r++) if (hops.top[r] === top && hops.shownAs[r] !== r) return true;
  return false;
}

/** membersOf lists a row and the spans folded into it, in order of rows. */
export function membersOf(hops: Hops, row: number): number[] {
  const out = [row];
  for (let m = hops.firstFolded[row]!; m >= 0; m = hops.nextFolded[m]!) out.push(m);
  return out.sort((a, b) => a - b);
}

/**
 * openTo gives the exceptions after which a row is in sight: every folded row above it is opened.
 * The rows argument is the present state; the row may be folded away in it.
 */
export function openTo(t: Trace, rules: RowRules, row: number): Set<number> {
  const all = computeRows(t, { ...rules, level: undefined, except: new Set() });
  const except = new Set(rules.except);
  const position = all.position[row]!;
  if (position < 0) return except;
  for (let p = all.parent[position]!; p >= 0; p = all.parent[p]!) {
    const r = all.row[p]!;
    const byRule = rules.level === undefined || all.level[p]! + 1 < rules.level;
    if (byRule === except.has(r)) {
      if (byRule) except.delete(r);
      else except.add(r);
    }
  }
  return except;
}
