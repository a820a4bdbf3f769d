import type { Piece } from "../model/criticalPath";
import { type Rows, rowHasError } from "../model/rows";
import { flag, type Trace } from "../model/trace";
import { barOf, type Span2 } from "../model/window";
import type { Tokens } from "./tokens";

/** What the bars of the waterfall show at one moment. */
export interface BarScene {
  trace: Trace;
  rows: Rows;
  window: Span2;
  /** First pixel of the rows that is in sight. */
  top: number;
  width: number;
  height: number;
  rowHeight: number;
  /** Pieces of the critical path by row; undefined draws none. */
  critical: Map<number, Piece[]> | undefined;
  ticks: readonly number[];
  durationText: (ns: number) => string;
}

/** Pixels that are kept free at the right, so that the end of a trace does not touch the edge. */
export const margin = 12;

/** drawBars paints the bars of the rows in sight. Its cost depends on them alone, never on the trace. */
export function drawBars(ctx: CanvasRenderingContext2D, s: BarScene, k: Tokens): void {
  const width = s.width - margin;
  ctx.clearRect(0, 0, s.width, s.height);
  ctx.font = `11px ${k.font}`;
  ctx.textBaseline = "middle";

  ctx.fillStyle = k.line;
  for (const at of s.ticks) {
    const x = Math.round(((at - s.window[0]) / (s.window[1] - s.window[0])) * width);
    ctx.fillRect(x, 0, 1, s.height);
  }

  const first = Math.max(0, Math.floor(s.top / s.rowHeight));
  const last = Math.min(s.rows.count, Math.ceil((s.top + s.height) / s.rowHeight));
  for (let i = first; i < last; i++) {
    drawRow(ctx, s, k, width, s.rows.row[i]!, i * s.rowHeight - s.top);
  }
}

function drawRow(
  ctx: CanvasRenderingContext2D,
  s: BarScene,
  k: Tokens,
  width: number,
  r: number,
  y: number,
): void {
  const { trace: t, rows } = s;
  const [x, w] = barOf(t.start[r]!, t.duration[r]!, s.window, width);
  const middle = y + s.rowHeight / 2;
  const height = s.rowHeight - 12;
  const top = Math.round(middle - height / 2);
  const colour = k.services[t.services[t.service[r]!]?.slot ?? 0] ?? k.lineStrong;

  // Proxies that were folded into this row: a thin line behind it, as long as their spans.
  let left = x;
  let right = x + w;
  for (let m = rows.hops.firstFolded[r]!; m >= 0; m = rows.hops.nextFolded[m]!) {
    const [mx, mw] = barOf(t.start[m]!, t.duration[m]!, s.window, width);
    ctx.globalAlpha = 0.45;
    ctx.fillStyle = colour;
    box(ctx, mx, Math.round(middle) - 2, mw, 4, width);
    left = Math.min(left, mx);
    right = Math.max(right, mx + mw);
  }
  ctx.globalAlpha = 1;

  if (right < 0 || left > width) {
    // Out of the window: a small arrow tells on which side.
    const out = right < 0;
    ctx.strokeStyle = k.lineStrong;
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    const tip = out ? 3 : width - 3;
    const back = out ? 7 : width - 7;
    ctx.moveTo(back, middle - 4);
    ctx.lineTo(tip, middle);
    ctx.lineTo(back, middle + 4);
    ctx.stroke();
    return;
  }

  if (t.flags[r]! & flag.missing) {
    ctx.strokeStyle = k.lineStrong;
    ctx.lineWidth = 1;
    ctx.setLineDash([4, 3]);
    const x0 = Math.max(-2, x);
    ctx.strokeRect(x0 + 0.5, top + 0.5, Math.max(3, Math.min(width + 2, x + w) - x0), height - 1);
    ctx.setLineDash([]);
    return;
  }

  ctx.fillStyle = colour;
  box(ctx, x, top, w, height, width);

  const failed = rowHasError(t, rows.hops, r);
  if (failed) {
    // A red edge round the bar; the sign beside its name says the same without colour.
    ctx.strokeStyle = k.error;
    ctx.lineWidth = 2;
    const x0 = Math.max(-4, x - 1);
    ctx.strokeRect(x0, top - 1, Math.max(3, Math.min(width + 4, x + w + 1) - x0), height + 2);
  }

  const pieces = s.critical?.get(r);
  if (pieces) {
    for (const p of pieces) {
      const [px, pw] = barOf(p.from, p.to - p.from, s.window, width);
      if (px + pw < 0 || px > width) continue;
      ctx.fillStyle = k.background;
      box(ctx, px, top + height - 3, pw, 5, width);
      ctx.fillStyle = k.text;
      box(ctx, px, top + height - 2, pw, 3, width);
    }
  }

  // The label stands behind the bar, before it, over what is thin, or at last on it.
  const label = s.durationText(t.duration[r]!);
  const room = ctx.measureText(label).width + 6;
  ctx.fillStyle = k.textMuted;
  // Far behind the bar it would look like the time of the proxies.
  const near = right - (x + w) < room;
  if (near && right + room < s.width) ctx.fillText(label, Math.max(0, right) + 5, middle);
  else if (near && left - room > 0) ctx.fillText(label, left - room + 1, middle);
  else {
    const x0 = x + w + room < s.width ? Math.max(0, x + w) + 6 : Math.max(0, x) + 4;
    ctx.fillStyle = k.background;
    ctx.fillRect(x0 - 2, top + 1, room - 2, height - 2);
    ctx.fillStyle = k.text;
    ctx.fillText(label, x0, middle);
  }
}

/** A box cut to what is in sight: canvases misdraw rectangles of millions of pixels. */
function box(ctx: CanvasRenderingContext2D, x: number, y: number, w: number, h: number, width: number): void {
  const from = Math.max(-4, x);
  const to = Math.min(width + 4, x + w);
  if (to > from) ctx.fillRect(from, y, to - from, h);
}
