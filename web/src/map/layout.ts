/** What is laid out: boxes and arrows, without any figures. */
export interface Task {
  nodes: Box[];
  edges: [from: string, to: string][];
}

export interface Box {
  id: string;
  width: number;
  height: number;
  /** Where requests come in: kept at the left. */
  entry?: boolean;
}

export interface Point {
  x: number;
  y: number;
}

/** Centres of the boxes, and the points that long edges pass on their way, by `from to` as JSON. */
export interface Placed {
  at: Record<string, Point>;
  via: Record<string, Point[]>;
}

export function pairKey(from: string, to: string): string {
  return JSON.stringify([from, to]);
}

export const gap = { rank: 128, node: 24 };

/**
 * keep places boxes of which most are known from before: the known ones stay where they are, each new one goes beside the
 * neighbour it has, where nothing else is. Undefined where too much is new for that to look good.
 */
export function keep(task: Task, before: Placed): Placed | undefined {
  const fresh = task.nodes.filter((n) => !(n.id in before.at));
  const known = task.nodes.length - fresh.length;
  if (known === 0 || fresh.length > Math.max(3, known * 0.15)) return undefined;
  const at: Record<string, Point> = {};
  const taken: (Point & { width: number; height: number })[] = [];
  const settle = (n: Box, p: Point) => {
    at[n.id] = p;
    taken.push({ ...p, width: n.width, height: n.height });
  };
  for (const n of task.nodes) if (n.id in before.at) settle(n, before.at[n.id]!);
  for (const n of fresh) {
    const caller = task.edges.find(([from, to]) => to === n.id && from in at)?.[0];
    const callee = task.edges.find(([from, to]) => from === n.id && to in at)?.[1];
    const step = n.width + gap.rank;
    const near = caller !== undefined ? at[caller]! : callee !== undefined ? at[callee]! : { x: 0, y: 0 };
    const x = caller !== undefined ? near.x + step : callee !== undefined ? near.x - step : near.x;
    settle(n, free(n, { x, y: near.y }, taken));
  }
  return { at, via: before.via };
}

/** free is the place nearest to p, straight up or down, where a box touches none of the others. */
export function free(
  n: { width: number; height: number },
  p: Point,
  taken: readonly (Point & { width: number; height: number })[],
): Point {
  const hits = (y: number) =>
    taken.some(
      (o) =>
        Math.abs(o.x - p.x) < (o.width + n.width) / 2 + 8 &&
        Math.abs(o.y - y) < (o.height + n.height) / 2 + gap.node / 2,
    );
  const step = 12;
  for (let i = 0; i <= taken.length * 24 + 1; i++) {
    for (const y of i === 0 ? [p.y] : [p.y + i * step, p.y - i * step]) if (!hits(y)) return { x: p.x, y };
  }
  return p;
}

/** A box of the base layout that is opened, with what is inside of it. */
export interface Opened {
  id: string;
  /** Where the closed box is, and how large. */
  box: Point & { width: number; height: number };
  /** Centres within the opened box, measured from its top left corner. */
  inner: Placed;
  width: number;
  height: number;
}

/**
 * stretch makes room for opened boxes: the plane is cut at each and drawn apart, so that what was left of it stays left and what
 * was above stays above, and nothing else moves. The answer moves any point of the base layout.
 */
export function stretch(opened: readonly Opened[]): (p: Point) => Point {
  const cuts = opened.map((o) => ({
    left: o.box.x - o.box.width / 2,
    right: o.box.x + o.box.width / 2,
    y: o.box.y,
    dx: Math.max(0, o.width - o.box.width),
    dy: Math.max(0, o.height - o.box.height) / 2,
  }));
  return (p) => {
    let { x, y } = p;
    for (const c of cuts) {
      const share = Math.min(1, Math.max(0, (p.x - c.left) / (c.right - c.left)));
      x += c.dx * share;
      if (p.y > c.y + 1) y += c.dy;
      else if (p.y < c.y - 1) y -= c.dy;
    }
    return { x, y };
  };
}

/** Padding of an opened group, and the height of its heading. */
export const groupPad = { side: 16, top: 34 };

/** The inside of an opened group, moved to its top left corner, and how large it is. */
export function frame(
  inner: Placed,
  boxes: readonly Box[],
): { inner: Placed; width: number; height: number } {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const b of boxes) {
    const p = inner.at[b.id];
    if (!p) continue;
    left = Math.min(left, p.x - b.width / 2);
    right = Math.max(right, p.x + b.width / 2);
    top = Math.min(top, p.y - b.height / 2);
    bottom = Math.max(bottom, p.y + b.height / 2);
  }
  if (left > right) return { inner: { at: {}, via: {} }, width: 0, height: 0 };
  const move = (p: Point) => ({ x: p.x - left + groupPad.side, y: p.y - top + groupPad.top });
  const at = Object.fromEntries(Object.entries(inner.at).map(([id, p]) => [id, move(p)]));
  const via = Object.fromEntries(Object.entries(inner.via).map(([id, list]) => [id, list.map(move)]));
  return {
    inner: { at, via },
    width: right - left + 2 * groupPad.side,
    height: bottom - top + groupPad.top + groupPad.side,
  };
}

/** tray puts boxes in rows below everything else. */
export function tray(boxes: readonly Box[], left: number, top: number, width: number): Record<string, Point> {
  const at: Record<string, Point> = {};
  let [x, y, row] = [left, top, 0];
  for (const b of boxes) {
    if (x > left && x + b.width > left + width) {
      x = left;
      y += row + gap.node;
      row = 0;
    }
    at[b.id] = { x: x + b.width / 2, y: y + b.height / 2 };
    x += b.width + gap.node;
    row = Math.max(row, b.height);
  }
  return at;
}
