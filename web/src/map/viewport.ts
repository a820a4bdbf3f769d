import type { Rect } from "./arrange";

/** What of the drawing is seen: screen = drawing × scale + (x, y). */
export interface Viewport {
  x: number;
  y: number;
  scale: number;
}

export const scales = { least: 0.08, most: 2.5 };

/** fitTo shows all of a rectangle in the middle, never larger than life by more than a quarter. */
export function fitTo(bounds: Rect, width: number, height: number, pad = 36): Viewport {
  if (width <= 0 || height <= 0 || bounds.width <= 0 || bounds.height <= 0)
    return { x: pad, y: pad, scale: 1 };
  const scale = clamp(
    Math.min((width - 2 * pad) / bounds.width, (height - 2 * pad) / bounds.height),
    scales.least,
    1.25,
  );
  return {
    x: (width - bounds.width * scale) / 2 - bounds.x * scale,
    y: (height - bounds.height * scale) / 2 - bounds.y * scale,
    scale,
  };
}

/** Smaller than this, names cannot be read. */
export const readable = 0.55;

/** openAt is how a map opens: all of it where that can be read, else its left end, where requests come in, at a size that can. */
export function openAt(bounds: Rect, width: number, height: number, pad = 36): Viewport {
  const all = fitTo(bounds, width, height, pad);
  if (all.scale >= readable || width <= 0 || height <= 0 || bounds.width <= 0) return all;
  const fits = bounds.width * readable <= width - 2 * pad;
  return {
    x: fits ? (width - bounds.width * readable) / 2 - bounds.x * readable : pad - bounds.x * readable,
    y: (height - bounds.height * readable) / 2 - bounds.y * readable,
    scale: readable,
  };
}

/** zoomAt keeps the point under the pointer where it is. */
export function zoomAt(v: Viewport, factor: number, x: number, y: number): Viewport {
  const scale = clamp(v.scale * factor, scales.least, scales.most);
  const f = scale / v.scale;
  return { x: x - (x - v.x) * f, y: y - (y - v.y) * f, scale };
}

/** reveal moves as little as needed to have a rectangle in sight. */
export function reveal(v: Viewport, r: Rect, width: number, height: number, pad = 24): Viewport {
  const left = r.x * v.scale + v.x;
  const top = r.y * v.scale + v.y;
  const shift = (low: number, size: number, room: number) =>
    low < pad ? pad - low : low + size > room - pad ? Math.max(pad - low, room - pad - low - size) : 0;
  const dx = shift(left, r.width * v.scale, width);
  const dy = shift(top, r.height * v.scale, height);
  return dx === 0 && dy === 0 ? v : { ...v, x: v.x + dx, y: v.y + dy };
}

function clamp(n: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, n));
}
