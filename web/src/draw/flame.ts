import { shortOperation } from "../model/envoy";
import type { Flame, Lanes } from "../model/flame";
import { flag, type Trace } from "../model/trace";
import type { Span2 } from "../model/window";
import type { Tokens } from "./tokens";

export const flameRow = 22;

/** What is common to both flame graphs at one moment. */
interface Look {
  trace: Trace;
  top: number;
  width: number;
  height: number;
  /** Rows that were found; undefined finds nothing and dims nothing. */
  hits: ReadonlySet<number> | undefined;
}

export interface SumScene extends Look {
  flame: Flame;
  /** Node that is as wide as the canvas; -1 shows all. */
  root: number;
  selected: number;
  /** Whether a node has a hit among its spans. */
  hitNodes: ReadonlySet<number> | undefined;
}

export interface TimeScene extends Look {
  lanes: Lanes;
  window: Span2;
  selected: number;
}

/** Where the nodes of a summed flame graph lie: pixels of the time axis and depth below the root. */
export function sumScale(s: { flame: Flame; root: number; width: number }): {
  from: number;
  scale: number;
  depth: number;
} {
  const { flame: f, root } = s;
  if (root >= 0)
    return { from: f.start[root]!, scale: s.width / Math.max(1e-9, f.value[root]!), depth: f.depth[root]! };
  let total = 0;
  for (let i = 0; i < f.count; i = f.end[i]!) total += f.value[i]!;
  return { from: 0, scale: s.width / Math.max(1e-9, total), depth: 0 };
}

/** drawSum paints the nodes in sight. A subtree that is narrower than a third of a pixel is passed over. */
export function drawSum(ctx: CanvasRenderingContext2D, s: SumScene, k: Tokens): void {
  begin(ctx, s, k);
  const { flame: f } = s;
  const { from, scale, depth } = sumScale(s);
  const first = Math.max(0, s.root);
  const end = s.root >= 0 ? f.end[s.root]! : f.count;
  for (let i = first; i < end; ) {
    const w = f.value[i]! * scale;
    if (w < 0.33) {
      i = f.end[i]!;
      continue;
    }
    const y = (f.depth[i]! - depth) * flameRow - s.top;
    if (y > s.height) {
      // Everything below is out of sight too.
      i = f.end[i]!;
      continue;
    }
    if (y > -flameRow) {
      const r = f.row[i]!;
      const dim = s.hitNodes !== undefined && !s.hitNodes.has(i);
      box(ctx, s, k, (f.start[i]! - from) * scale, y, w, r, label(s.trace, r), {
        failed: f.errors[i]! > 0,
        dim,
        hit: s.hitNodes?.has(i) ?? false,
        selected: i === s.selected,
      });
    }
    i++;
  }
}

/** drawTime paints the lanes in sight; what would share a pixel with its neighbour is painted once. */
export function drawTime(ctx: CanvasRenderingContext2D, s: TimeScene, k: Tokens): void {
  begin(ctx, s, k);
  const { lanes: l, trace: t } = s;
  const scale = s.width / (s.window[1] - s.window[0]);
  const last = Math.min(l.count, Math.ceil((s.top + s.height) / flameRow));
  for (let lane = Math.max(0, Math.floor(s.top / flameRow)); lane < last; lane++) {
    let painted = Number.NEGATIVE_INFINITY;
    for (let at = l.offset[lane]!; at < l.offset[lane + 1]!; at++) {
      const r = l.order[at]!;
      const x = (t.start[r]! - s.window[0]) * scale;
      const w = Math.max(1, t.duration[r]! * scale);
      const selected = r === s.selected;
      if (x > s.width || x + w < 0) continue;
      if (x + w < painted + 0.5 && !selected && !(t.flags[r]! & flag.error)) continue;
      painted = x + w;
      const hit = s.hits?.has(r) ?? false;
      box(ctx, s, k, x, lane * flameRow - s.top, w, r, label(t, r), {
        failed: (t.flags[r]! & flag.error) !== 0,
        dim: s.hits !== undefined && !hit,
        hit,
        selected,
      });
    }
  }
}

function label(t: Trace, r: number): string {
  return `${t.services[t.service[r]!]?.name ?? ""}  ${shortOperation(t.names[t.name[r]!] ?? "")}`;
}

function begin(ctx: CanvasRenderingContext2D, s: Look, k: Tokens): void {
  ctx.clearRect(0, 0, s.width, s.height);
  ctx.font = `12px ${k.font}`;
  ctx.textBaseline = "middle";
}

interface Marks {
  failed: boolean;
  dim: boolean;
  hit: boolean;
  selected: boolean;
}

/** One box: a light ground in its service's colour, so that its text is readable in both themes, and a full edge. */
function box(
  ctx: CanvasRenderingContext2D,
  s: Look,
  k: Tokens,
  x: number,
  y: number,
  w: number,
  row: number,
  text: string,
  m: Marks,
): void {
  const from = Math.max(-2, x);
  const to = Math.min(s.width + 2, x + w);
  const width = Math.max(0.5, to - from - (w > 4 ? 1 : 0));
  const height = flameRow - 2;
  const colour = k.services[s.trace.services[s.trace.service[row]!]?.slot ?? 0] ?? k.lineStrong;
  ctx.globalAlpha = m.dim ? 0.12 : 0.3;
  ctx.fillStyle = m.hit ? k.hit : colour;
  if (m.hit) ctx.globalAlpha = 1;
  ctx.fillRect(from, y + 1, width, height);
  ctx.globalAlpha = m.dim ? 0.35 : 1;
  ctx.fillStyle = colour;
  // The edge must not be most of a narrow box, or many of them look like one dark strip.
  ctx.fillRect(from, y + 1, width > 16 ? 3 : Math.min(width, 1), height);
  if (m.failed) {
    // A bar along the bottom and a mark before the name: not by colour alone.
    ctx.fillStyle = k.error;
    ctx.fillRect(from, y + height - 2, width, 3);
  }
  ctx.globalAlpha = 1;
  if (m.selected) {
    ctx.strokeStyle = k.accent;
    ctx.lineWidth = 2;
    ctx.strokeRect(from + 1, y + 2, Math.max(1, width - 2), height - 2);
  }
  if (width > 28) {
    ctx.fillStyle = m.dim ? k.textMuted : k.text;
    ctx.fillText(cutTo(m.failed ? `! ${text}` : text, width - 10), from + 7, y + flameRow / 2);
  }
}

/** As much of a text as fits, by the usual width of its characters: measuring every box costs more than drawing it. */
function cutTo(text: string, width: number): string {
  const room = Math.floor(width / 6.4);
  return text.length <= room ? text : `${text.slice(0, Math.max(0, room - 1))}…`;
}

/** nodeAt is the node of a summed flame graph under a point; -1 for none. */
export function nodeAt(s: { flame: Flame; root: number; width: number }, x: number, y: number): number {
  const { flame: f } = s;
  const { from, scale, depth } = sumScale(s);
  const wanted = Math.floor(y / flameRow) + depth;
  const time = from + x / scale;
  const end = s.root >= 0 ? f.end[s.root]! : f.count;
  for (let i = Math.max(0, s.root); i < end; ) {
    if (time < f.start[i]! || time >= f.start[i]! + f.value[i]!) i = f.end[i]!;
    else if (f.depth[i] === wanted) return i;
    else i++;
  }
  return -1;
}

/** rowAt is the row of a flame graph in time under a point; -1 for none. */
export function rowAt(
  s: { trace: Trace; lanes: Lanes; window: Span2; width: number },
  x: number,
  y: number,
): number {
  const lane = Math.floor(y / flameRow);
  if (lane < 0 || lane >= s.lanes.count) return -1;
  const scale = s.width / (s.window[1] - s.window[0]);
  let found = -1;
  for (let at = s.lanes.offset[lane]!; at < s.lanes.offset[lane + 1]!; at++) {
    const r = s.lanes.order[at]!;
    const left = (s.trace.start[r]! - s.window[0]) * scale;
    if (x >= left - 1 && x <= left + Math.max(2, s.trace.duration[r]! * scale)) found = r;
  }
  return found;
}
