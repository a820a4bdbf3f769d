const made = new Map<string, Intl.DateTimeFormat>();

/** Times of an axis as short as tells neighbours apart: seconds within ten minutes, the day from a day and a half on. */
export function axisTime(language: string, times: readonly number[]): (ms: number) => string {
  const length = (times[times.length - 1] ?? 0) - (times[0] ?? 0);
  const form = length <= 600e3 ? "seconds" : length <= 36 * 3600e3 ? "minutes" : "days";
  const key = `${language} ${form}`;
  let format = made.get(key);
  if (!format) {
    format = new Intl.DateTimeFormat(language, {
      hour: "2-digit",
      minute: "2-digit",
      hourCycle: "h23",
      ...(form === "seconds" ? { second: "2-digit" } : {}),
      ...(form === "days" ? { month: "numeric", day: "numeric" } : {}),
    });
    made.set(key, format);
  }
  return (ms) => format.format(ms);
}
