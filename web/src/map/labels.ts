import type { Curve, Rect } from "./arrange";
import type { VEdge } from "./graph";

export interface Label {
  edge: string;
  x: number;
  y: number;
  width: number;
}

export const labelHeight = 18;

/** Where on its edge a label is tried first: in the middle, then further and further out. */
const steps = [5, 6, 4, 7, 3, 8, 2];

/**
 * placeLabels finds room for the figures of edges: on the edge, where they cover neither a node nor each other; else right above
 * or below it. Where many edges begin at one node they are far from it, where many end far from that. Those that must be
 * seen (the selected edge) are placed first and always.
 */
export function placeLabels(
  edges: readonly VEdge[],
  curves: ReadonlyMap<string, Curve>,
  boxes: readonly Rect[],
  widthOf: (e: VEdge) => number,
  must: ReadonlySet<string>,
): Map<string, Label> {
  const out = new Map<string, Label>();
  const taken: Rect[] = [];
  const count = (end: "from" | "to") => {
    const n = new Map<string, number>();
    for (const e of edges) n.set(e[end], (n.get(e[end]) ?? 0) + 1);
    return n;
  };
  const [begins, ends] = [count("from"), count("to")];
  const sorted = [...edges].sort((a, b) => Number(must.has(b.id)) - Number(must.has(a.id)));
  for (const e of sorted) {
    const curve = curves.get(e.id);
    if (!curve) continue;
    const width = widthOf(e);
    const fan = Math.sign(begins.get(e.from)! - ends.get(e.to)!);
    const at = (i: number, dy: number): Rect => {
      const p = curve.along[Math.min(curve.along.length - 1, Math.max(0, i))]!;
      return { x: p.x - width / 2, y: p.y + dy - labelHeight / 2, width, height: labelHeight };
    };
    const spots = [0, -16, 16, -30, 30].flatMap((dy) => steps.map((i) => at(i + fan, dy)));
    const spot =
      spots.find((s) => !taken.some((o) => overlap(s, o)) && !boxes.some((o) => overlap(s, o))) ??
      (must.has(e.id) ? spots[0] : undefined);
    if (!spot) continue;
    taken.push(spot);
    out.set(e.id, { edge: e.id, x: spot.x + width / 2, y: spot.y + labelHeight / 2, width });
  }
  return out;
}

function overlap(a: Rect, b: Rect): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}
