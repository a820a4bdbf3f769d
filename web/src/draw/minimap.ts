import { type Rows, rowHasError } from "../model/rows";
import { flag, type Trace } from "../model/trace";
import type { Tokens } from "./tokens";

/**
 * drawMinimap paints all rows, each in its place and time, and the errors along the bottom. Rows that
 * share a line of pixels are drawn over each other, so what is dense looks dense. Linear in the rows;
 * it is drawn when the rows change, not when the window moves.
 */
export function drawMinimap(
  ctx: CanvasRenderingContext2D,
  t: Trace,
  rows: Rows,
  width: number,
  height: number,
  k: Tokens,
): void {
  ctx.clearRect(0, 0, width, height);
  const strip = 5;
  const area = height - strip - 2;
  const scale = width / Math.max(1, t.traceDuration);
  const line = Math.max(1, Math.min(3, area / Math.max(1, rows.count) - 0.5));
  ctx.globalAlpha = rows.count > area * 4 ? 0.5 : 1;
  // By colour, so that the canvas changes its state twenty times and not once a row.
  const bySlot: number[][] = k.services.map(() => []);
  for (let i = 0; i < rows.count; i++) {
    const r = rows.row[i]!;
    if (!(t.flags[r]! & flag.missing)) bySlot[t.services[t.service[r]!]?.slot ?? 0]?.push(i);
  }
  for (const [slot, positions] of bySlot.entries()) {
    ctx.fillStyle = k.services[slot]!;
    for (const i of positions) {
      const r = rows.row[i]!;
      const y = Math.floor((i / Math.max(rows.count, area / 4)) * area) + 1;
      ctx.fillRect(t.start[r]! * scale, y, Math.max(1, t.duration[r]! * scale), line);
    }
  }
  ctx.globalAlpha = 1;
  ctx.fillStyle = k.error;
  for (let i = 0; i < rows.count; i++) {
    const r = rows.row[i]!;
    if (rowHasError(t, rows.hops, r)) ctx.fillRect(t.start[r]! * scale - 1, height - strip, 3, strip);
  }
}
