/** The visible part of a trace's time axis: [from, to] in nanoseconds after its start. */
export type Span2 = readonly [from: number, to: number];

/** Nothing is zoomed further in than this many nanoseconds (or the whole trace, if that is shorter). */
const least = 1000;

/** fullWindow is all of the axis; a trace of length zero still gets an axis. */
export function fullWindow(duration: number): Span2 {
  return [0, Math.max(1, duration)];
}

/** clampWindow keeps the length where it can, inside the axis and not below the least. */
export function clampWindow([from, to]: Span2, duration: number): Span2 {
  const all = fullWindow(duration)[1];
  const length = Math.min(all, Math.max(Math.min(least, all), to - from));
  const start = Math.min(Math.max(0, from), all - length);
  return [Math.floor(start), Math.ceil(start + length)];
}

/** zoom scales the window around a point of it (0 left, 1 right); factor < 1 zooms in. */
export function zoom([from, to]: Span2, factor: number, at: number, duration: number): Span2 {
  const pivot = from + (to - from) * at;
  const length = (to - from) * factor;
  return clampWindow([pivot - length * at, pivot + length * (1 - at)], duration);
}

/** pan moves by a part of the window's length. */
export function pan([from, to]: Span2, part: number, duration: number): Span2 {
  const by = (to - from) * part;
  return clampWindow([from + by, to + by], duration);
}

/** fitTo shows a span with a tenth of room at both ends. */
export function fitTo(start: number, length: number, duration: number): Span2 {
  const room = Math.max(length * 0.1, 1);
  return clampWindow([start - room, start + length + room], duration);
}

export function isFull(w: Span2, duration: number): boolean {
  const all = fullWindow(duration);
  return w[0] <= all[0] && w[1] >= all[1];
}

/** Where a span is drawn: pixels from the left, with 1.5 as the least width that can be seen. */
export function barOf(start: number, length: number, [from, to]: Span2, width: number): [number, number] {
  const scale = width / (to - from);
  const x = (start - from) * scale;
  return [x, Math.max(1.5, length * scale)];
}
