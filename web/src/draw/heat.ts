import type { Heatmap } from "../api/types";
import { type Plot, rectOf } from "../model/heatGrid";
import type { Tokens } from "./tokens";

/**
 * drawHeat paints the cells of a heatmap: the more spans, the stronger the accent (by logarithm, so that
 * one slow span is still seen beside thousands). Failed ones fill their share of the cell from the left.
 */
export function drawHeat(
  ctx: CanvasRenderingContext2D,
  t: Tokens,
  h: Heatmap,
  p: Plot,
  labels: { duration: (ns: number) => string; time: (ms: number) => string; startMs: number },
): void {
  ctx.clearRect(0, 0, p.left + p.width + 40, p.bottom + 40);
  ctx.font = `11px ${t.font}`;
  ctx.textBaseline = "middle";
  ctx.textAlign = "right";
  const rowHeight = p.height / p.rows;
  let lastY = Number.POSITIVE_INFINITY;
  for (const [row, bound] of h.bounds.entries()) {
    const round = /^10*$/.test(String(bound));
    const y = p.bottom - row * rowHeight;
    if (!round || lastY - y < 14) continue;
    lastY = y;
    ctx.fillStyle = t.line;
    ctx.fillRect(p.left, Math.round(y), p.width, 1);
    ctx.fillStyle = t.textMuted;
    ctx.fillText(labels.duration(bound), p.left - 6, Math.max(8, y));
  }
  ctx.fillStyle = t.line;
  ctx.fillRect(p.left, p.bottom, p.width, 1);
  ctx.fillStyle = t.textMuted;
  const ticks = Math.max(2, Math.floor(p.width / 170));
  for (let i = 0; i <= ticks; i++) {
    ctx.textAlign = i === 0 ? "left" : i === ticks ? "right" : "center";
    const at = i / ticks;
    ctx.fillText(
      labels.time(labels.startMs + (at * h.columns * h.step) / 1e6),
      p.left + at * p.width,
      p.bottom + 10,
    );
  }
  const most = Math.log1p(Math.max(1, ...h.cells.map((c) => c.n)));
  for (const c of h.cells) {
    const r = rectOf(p, { column: [c.column, c.column], row: [c.row, c.row] });
    const [x, y, w, height] = [r.x + 0.5, r.y + 0.5, Math.max(1, r.width - 1), Math.max(1, r.height - 1)];
    ctx.globalAlpha = 0.25 + 0.75 * (Math.log1p(c.n) / most);
    ctx.fillStyle = t.accent;
    ctx.fillRect(x, y, w, height);
    if (c.errors) {
      ctx.globalAlpha = 1;
      ctx.fillStyle = t.error;
      const part = Math.min(w, Math.max(2.5, (w * c.errors) / c.n));
      ctx.fillRect(x, y, part, height);
    }
  }
  ctx.globalAlpha = 1;
}
