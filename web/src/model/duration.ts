/** Durations are integer nanoseconds everywhere; this file turns them into text and back. */

const units: Record<string, number> = {
  ns: 1,
  us: 1e3,
  µs: 1e3, // micro sign
  μs: 1e3, // Greek mu, as some keyboards give it
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
  d: 86400e9,
};

/** parseDuration reads "250ms", "1.5s", "1m30s"; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const parts = /^(?:\d+(?:\.\d+)?(?:ns|us|µs|μs|ms|s|m|h|d))+$/.test(text)
    ? text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|μs|ms|s|m|h|d)/g)
    : undefined;
  if (!parts) return undefined;
  let sum = 0;
  for (const [, digits, unit] of parts) sum += Number(digits) * units[unit!]!;
  return Number.isFinite(sum) ? Math.round(sum) : undefined;
}

/** The largest unit in which a duration is at least one, with the number in it. Zero is 0 ms. */
export function scaleDuration(ns: number): { value: number; unit: "ns" | "µs" | "ms" | "s" } {
  const abs = Math.abs(ns);
  if (ns === 0) return { value: 0, unit: "ms" };
  if (abs < 1e3) return { value: ns, unit: "ns" };
  if (abs < 999.5e3) return { value: ns / 1e3, unit: "µs" };
  if (abs < 999.5e6) return { value: ns / 1e6, unit: "ms" };
  return { value: ns / 1e9, unit: "s" };
}

/** niceStep gives the smallest 1-2-5 step that cuts span into at most count parts. */
export function niceStep(span: number, count: number): number {
  if (!(span > 0) || count < 1) return 1;
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  for (const m of [1, 2, 5, 10]) if (m * power >= raw * (1 - 1e-9)) return m * power;
  return 10 * power;
}
