import type { MapNode } from "./api";
import { type Graph, groupOf, type VEdge, type VNode } from "./graph";
import {
  type Box,
  frame,
  free,
  type Opened,
  type Placed,
  type Point,
  pairKey,
  stretch,
  type Task,
  tray,
} from "./layout";

/** Sizes of what is drawn. */
export const nodeSize = { width: 158, height: 46 };
export const groupSize = { width: 190, height: 58 };
const widest = 212;

/**
 * A node is as wide as its name needs, within bounds: maps are wide before they are high. Widths are guessed from the number of
 * letters, so that the layout is the same whatever the font is.
 */
export function memberSize(n: Pick<MapNode, "service" | "kind">): { width: number; height: number } {
  // What clients have written below their name is longer than the name.
  let letters = n.kind === "client" ? 15 : 0;
  for (const c of n.service.slice(0, 40)) letters += c > "\u1100" ? 1.8 : 1;
  return {
    width: Math.round(Math.min(widest, Math.max(nodeSize.width, 50 + letters * 7.6))),
    height: nodeSize.height,
  };
}

export function sizeOf(n: VNode): { width: number; height: number } {
  return n.kind === "group" ? groupSize : memberSize(n.members[0]!);
}

/** What the worker is asked for a graph: one base layout, and the inside of each group that is opened in it. */
export interface Plan {
  base: Task;
  inner: Map<string, Task>;
}

/**
 * planOf says what is laid out. While namespaces are folded the base has them as boxes, opened or not, so that opening one moves
 * nothing but what makes room for it; else it has every node, and one that is folded by hand takes the middle of its members.
 */
export function planOf(g: Graph): Plan {
  const connected = new Set(g.nodes.filter((n) => !n.alone).map((n) => n.id));
  const groups = new Map(g.groups.map((x) => [x.id, x]));
  const nodeOf = new Map(g.members.map((n) => [n.id, n]));
  const inBase = (id: string): string => {
    const n = nodeOf.get(id)!;
    const group = groupOf(n);
    return g.folding && group !== undefined && groups.has(group) ? group : id;
  };
  const called = new Set(g.calls.filter((e) => e.from !== e.to).flatMap((e) => [e.from, e.to]));
  const incoming = new Set(g.calls.filter((e) => e.from !== e.to).map((e) => e.to));
  const base = new Map<string, Box>();
  for (const n of g.members) {
    const id = inBase(n.id);
    const entry = n.kind === "client" || (n.kind === "gateway" && !incoming.has(n.id));
    const box = base.get(id);
    if (box) {
      if (entry) box.entry = true;
      continue;
    }
    // What is in the tray has no place in the layers; a group is there if anything of it has.
    const shown = id === n.id ? called.has(id) : connected.has(id) || !groups.get(id)!.folded;
    if (!shown) continue;
    base.set(id, { id, ...(id === n.id ? memberSize(n) : groupSize), ...(entry ? { entry } : {}) });
  }
  const edges = new Map<string, [string, string]>();
  for (const e of g.calls) {
    const [from, to] = [inBase(e.from), inBase(e.to)];
    if (from !== to) edges.set(pairKey(from, to), [from, to]);
  }
  const inner = new Map<string, Task>();
  if (g.folding) {
    for (const group of g.groups) {
      if (group.folded) continue;
      const members = new Set(group.members);
      inner.set(group.id, {
        nodes: group.members.map((id) => ({ id, ...memberSize(nodeOf.get(id)!) })),
        edges: g.calls
          .filter((e) => e.from !== e.to && members.has(e.from) && members.has(e.to))
          .map((e) => [e.from, e.to]),
      });
    }
  }
  return { base: { nodes: [...base.values()], edges: [...edges.values()] }, inner };
}

export interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Where everything is, in pixels of the drawing. */
export interface Arranged {
  at: Map<string, Point>;
  /** Frames of opened groups: top left corner and size. */
  frames: Map<string, Rect>;
  /** Points that an edge passes, by its id. */
  via: Map<string, Point[]>;
  bounds: Rect;
  /** Top of the tray; undefined where nothing is in it. */
  tray: number | undefined;
}

/** arrange puts the drawn nodes where the layouts say. */
export function arrange(g: Graph, base: Placed, inner: ReadonlyMap<string, Placed>): Arranged {
  const nodeOf = new Map(g.members.map((n) => [n.id, n]));
  const opened: Opened[] = [];
  for (const group of g.groups) {
    const placed = inner.get(group.id);
    const at = base.at[group.id];
    if (!g.folding || group.folded || !placed || !at) continue;
    const boxes = group.members.map((id) => ({ id, ...memberSize(nodeOf.get(id)!) }));
    opened.push({ id: group.id, box: { ...at, ...groupSize }, ...frame(placed, boxes) });
  }
  const move = stretch(opened);
  const at = new Map<string, Point>();
  const frames = new Map<string, Rect>();
  for (const o of opened) {
    const middle = move(o.box);
    const [x, y] = [middle.x - o.width / 2, middle.y - o.height / 2];
    frames.set(o.id, { x, y, width: o.width, height: o.height });
    for (const [id, p] of Object.entries(o.inner.at)) at.set(id, { x: x + p.x, y: y + p.y });
  }
  const later: VNode[] = [];
  for (const n of g.nodes) {
    if (at.has(n.id)) continue;
    const p = base.at[n.id];
    if (p && !(n.alone && n.kind !== "group")) at.set(n.id, move(p));
    else if (!n.alone) later.push(n);
  }
  // Folded by hand in a layout of single nodes: in the middle of its members.
  for (const n of later) {
    const members = n.members.flatMap((m) => base.at[m.id] ?? []);
    const middle =
      members.length > 0
        ? {
            x: members.reduce((s, p) => s + p.x, 0) / members.length,
            y: members.reduce((s, p) => s + p.y, 0) / members.length,
          }
        : { x: 0, y: 0 };
    const taken = g.nodes.flatMap((o) => {
      const p = at.get(o.id);
      return p ? [{ ...p, ...sizeOf(o) }] : [];
    });
    at.set(n.id, free(sizeOf(n), middle, taken));
  }

  const via = new Map<string, Point[]>();
  for (const e of g.edges) {
    const points = base.via[pairKey(e.from, e.to)];
    if (points) via.set(e.id, points.map(move));
  }
  const main = boundsOf(g.nodes, at, frames);
  const alone = g.nodes.filter((n) => !at.has(n.id));
  let top: number | undefined;
  if (alone.length > 0) {
    top = main.height > 0 ? main.y + main.height + 56 : 0;
    const boxes = alone.map((n) => ({ id: n.id, ...sizeOf(n) }));
    const spots = tray(boxes, main.x, top + 30, Math.max(main.width, 5 * (nodeSize.width + 22)));
    for (const [id, p] of Object.entries(spots)) at.set(id, p);
  }
  const bounds = boundsOf(g.nodes, at, frames);
  if (top !== undefined) {
    bounds.height += bounds.y - Math.min(bounds.y, top);
    bounds.y = Math.min(bounds.y, top);
  }
  return { at, frames, via, bounds, tray: top };
}

function boundsOf(nodes: readonly VNode[], at: Map<string, Point>, frames: Map<string, Rect>): Rect {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  const add = (x: number, y: number, width: number, height: number) => {
    left = Math.min(left, x);
    top = Math.min(top, y);
    right = Math.max(right, x + width);
    bottom = Math.max(bottom, y + height);
  };
  for (const n of nodes) {
    const p = at.get(n.id);
    const s = sizeOf(n);
    if (p) add(p.x - s.width / 2, p.y - s.height / 2, s.width, s.height);
  }
  for (const r of frames.values()) add(r.x, r.y, r.width, r.height);
  return left > right
    ? { x: 0, y: 0, width: 0, height: 0 }
    : { x: left, y: top, width: right - left, height: bottom - top };
}

/** The way of an edge, as a path and as what its label and arrow need. */
export interface Curve {
  path: string;
  /** Where the arrow's tip is, and the direction it points in, degrees. */
  tip: Point;
  angle: number;
  /** Points along the way at equal steps, from its begin to its end. */
  along: Point[];
  back: boolean;
}

/** Spreads the ends of edges along the sides of nodes, in the order of what they lead to, so that they do not cross there. */
export function curves(g: Graph, a: Arranged): Map<string, Curve> {
  const byId = new Map(g.nodes.map((n) => [n.id, n]));
  const sides = new Map<string, { edge: VEdge; y: number }[]>();
  const forward = (e: VEdge) => a.at.get(e.to)!.x - a.at.get(e.from)!.x > nodeSize.width / 2;
  const drawn = g.edges.filter((e) => a.at.has(e.from) && a.at.has(e.to));
  const note = (key: string, edge: VEdge, y: number) =>
    sides.set(key, [...(sides.get(key) ?? []), { edge, y }]);
  for (const e of drawn) {
    if (e.from === e.to || !forward(e)) continue;
    const points = a.via.get(e.id);
    note(`out ${e.from}`, e, points?.[0]?.y ?? a.at.get(e.to)!.y);
    note(`in ${e.to}`, e, points?.[points.length - 1]?.y ?? a.at.get(e.from)!.y);
  }
  const offset = new Map<string, number>();
  for (const [key, list] of sides) {
    const id = key.slice(key.indexOf(" ") + 1);
    const room = sizeOf(byId.get(id)!).height - 18;
    const step = list.length > 1 ? Math.min(11, room / (list.length - 1)) : 0;
    list.sort((p, q) => p.y - q.y || (p.edge.id < q.edge.id ? -1 : 1));
    for (const [i, { edge }] of list.entries())
      offset.set(`${key[0]}${edge.id}`, (i - (list.length - 1) / 2) * step);
  }
  const out = new Map<string, Curve>();
  for (const e of drawn) {
    const [p, q] = [a.at.get(e.from)!, a.at.get(e.to)!];
    const [sp, sq] = [sizeOf(byId.get(e.from)!), sizeOf(byId.get(e.to)!)];
    if (e.from === e.to) out.set(e.id, loop(p, sp));
    else if (forward(e)) {
      const begin = { x: p.x + sp.width / 2, y: p.y + (offset.get(`o${e.id}`) ?? 0) };
      const end = { x: q.x - sq.width / 2, y: q.y + (offset.get(`i${e.id}`) ?? 0) };
      out.set(e.id, smooth([begin, ...between(begin, end, a.via.get(e.id) ?? []), end]));
    } else out.set(e.id, backwards(p, sp, q, sq));
  }
  return out;
}

/** Only what lies on the way: points of a layout before something moved must not send an edge back and forth. */
function between(begin: Point, end: Point, points: readonly Point[]): Point[] {
  const on = points.filter((p) => p.x > begin.x + 12 && p.x < end.x - 12);
  // The middle of a short edge adds nothing but a bend.
  return on.length === 1 && end.x - begin.x < 200 ? [] : on;
}

const arrow = 7;

function smooth(points: Point[]): Curve {
  const last = points[points.length - 1]!;
  const stop = { x: last.x - arrow, y: last.y };
  const all = [...points.slice(0, -1), stop];
  let path = `M${fixed(all[0]!)}`;
  for (let i = 1; i < all.length; i++) {
    const [p, q] = [all[i - 1]!, all[i]!];
    const half = (q.x - p.x) / 2;
    path += `C${fixed({ x: p.x + half, y: p.y })} ${fixed({ x: q.x - half, y: q.y })} ${fixed(q)}`;
  }
  const along: Point[] = [];
  for (let i = 1; i < all.length; i++) {
    const [p, q] = [all[i - 1]!, all[i]!];
    const half = (q.x - p.x) / 2;
    along.push(...sample(p, { x: p.x + half, y: p.y }, { x: q.x - half, y: q.y }, q));
  }
  return { path, tip: last, angle: 0, along: even(along), back: false };
}

/** A call against the reading order leaves below and comes in from below. */
function backwards(p: Point, sp: { height: number }, q: Point, sq: { height: number }): Curve {
  const begin = { x: p.x - 12, y: p.y + sp.height / 2 };
  const end = { x: q.x + 12, y: q.y + sq.height / 2 };
  const depth = Math.max(begin.y, end.y) + 34 + Math.min(60, Math.abs(begin.x - end.x) / 12);
  const path = `M${fixed(begin)}C${fixed({ x: begin.x, y: depth })} ${fixed({ x: end.x, y: depth })} ${fixed({ x: end.x, y: end.y + arrow })}`;
  const along = even(sample(begin, { x: begin.x, y: depth }, { x: end.x, y: depth }, end));
  return { path, tip: end, angle: -90, along, back: true };
}

function loop(p: Point, s: { width: number; height: number }): Curve {
  const top = p.y - s.height / 2;
  const begin = { x: p.x + 14, y: top };
  const end = { x: p.x - 14, y: top };
  const path = `M${fixed(begin)}C${fixed({ x: p.x + 34, y: top - 34 })} ${fixed({ x: p.x - 34, y: top - 34 })} ${fixed({ x: end.x, y: end.y - arrow })}`;
  return { path, tip: end, angle: 90, along: [{ x: p.x, y: top - 26 }], back: true };
}

/** Points of a cubic curve. */
function sample(a: Point, b: Point, c: Point, d: Point): Point[] {
  return Array.from({ length: 13 }, (_, i) => {
    const t = i / 12;
    const u = 1 - t;
    const mix = (k: "x" | "y") =>
      u * u * u * a[k] + 3 * u * u * t * b[k] + 3 * u * t * t * c[k] + t * t * t * d[k];
    return { x: mix("x"), y: mix("y") };
  });
}

/** Eleven points at equal steps along a line of points. */
function even(points: readonly Point[]): Point[] {
  const far = [0];
  for (let i = 1; i < points.length; i++) {
    const [p, q] = [points[i - 1]!, points[i]!];
    far.push(far[i - 1]! + Math.hypot(q.x - p.x, q.y - p.y));
  }
  const all = far[far.length - 1]!;
  return Array.from({ length: 11 }, (_, i) => {
    const want = (all * i) / 10;
    const at = Math.max(
      1,
      far.findIndex((d) => d >= want),
    );
    const [p, q] = [points[at - 1]!, points[at]!];
    const step = far[at]! - far[at - 1]!;
    const share = step > 0 ? (want - far[at - 1]!) / step : 0;
    return { x: p.x + (q.x - p.x) * share, y: p.y + (q.y - p.y) * share };
  });
}

function fixed(p: Point): string {
  return `${Math.round(p.x * 10) / 10} ${Math.round(p.y * 10) / 10}`;
}

/** neighbour is the node that an arrow key goes to: the nearest one in that direction, by angle before distance. */
export function neighbour(
  a: Pick<Arranged, "at">,
  from: string,
  key: "ArrowLeft" | "ArrowRight" | "ArrowUp" | "ArrowDown",
): string | undefined {
  const p = a.at.get(from);
  if (!p) return undefined;
  const sign = key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1;
  const across = key === "ArrowLeft" || key === "ArrowRight";
  let best: string | undefined;
  let cost = Number.POSITIVE_INFINITY;
  for (const [id, q] of a.at) {
    if (id === from) continue;
    const along = (across ? q.x - p.x : q.y - p.y) * sign;
    const aside = Math.abs(across ? q.y - p.y : q.x - p.x);
    if (along < 8) continue;
    const c = along + aside * 2.5;
    if (c < cost) [best, cost] = [id, c];
  }
  return best;
}
