let context: CanvasRenderingContext2D | null | undefined;
const widths = new Map<string, number>();

/** textWidth measures text in the page's font; where there is no canvas it guesses. */
export function textWidth(text: string, size: number, weight = 400): number {
  const key = `${size} ${weight} ${text}`;
  const found = widths.get(key);
  if (found !== undefined) return found;
  if (context === undefined) {
    context = document.createElement("canvas").getContext?.("2d") ?? null;
  }
  let width = text.length * size * 0.55;
  if (context) {
    const family = getComputedStyle(document.documentElement).getPropertyValue("--font").trim();
    context.font = `${weight} ${size}px ${family || "sans-serif"}`;
    width = context.measureText(text).width;
  }
  if (widths.size > 5000) widths.clear();
  widths.set(key, width);
  return width;
}

/** fitText cuts text to a width, with an ellipsis; whole characters only, so that emoji stay whole. */
export function fitText(text: string, width: number, size: number, weight = 400): string {
  // Names may be a megabyte: nothing behind the first few hundred characters can be seen.
  const chars = [...text.slice(0, 400)];
  if (chars.length === text.length && textWidth(text, size, weight) <= width) return text;
  let [low, high] = [0, chars.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (textWidth(`${chars.slice(0, middle).join("")}…`, size, weight) <= width) low = middle;
    else high = middle - 1;
  }
  const cut = chars.slice(0, low).join("");
  return cut.length === text.length ? text : `${cut}…`;
}
