/** Instants (decimal nanoseconds since the epoch, too large for a number) and time ranges. */

/** instantMs is the instant in milliseconds with three decimals; NaN for text that is no instant. */
export function instantMs(instant: string | undefined): number {
  if (!instant || !/^-?\d+$/.test(instant)) return Number.NaN;
  return Number(BigInt(instant) / 1000n) / 1000;
}

export function msInstant(ms: number): string {
  return (BigInt(Math.round(ms * 1000)) * 1000n).toString();
}

/** A span of time before now, or two instants in whole milliseconds. */
export type Range = { kind: "last"; last: string } | { kind: "between"; from: number; to: number };

export const presets = ["5m", "15m", "1h", "6h", "24h", "7d"] as const;

/** parseLast takes "15m", "6h", "7d"; minutes, hours and days are all a person needs here. */
export function parseLast(text: string): string | undefined {
  return /^[1-9]\d{0,4}[mhd]$/.test(text) ? text : undefined;
}

export function lastMs(last: string): number {
  const n = Number.parseInt(last, 10);
  return n * { m: 60e3, h: 3600e3, d: 86400e3 }[last.slice(-1) as "m" | "h" | "d"];
}

/** rangeWindow is what the API is asked: it knows hours but no days. */
export function rangeWindow(r: Range): { start: string; end?: string } {
  if (r.kind === "between") return { start: msInstant(r.from), end: msInstant(r.to) };
  return { start: r.last.endsWith("d") ? `${Number.parseInt(r.last, 10) * 24}h` : r.last };
}

/** absolute pins a range, for links that others open later. */
export function absolute(r: Range, nowMs: number): Range {
  if (r.kind === "between") return r;
  return { kind: "between", from: Math.floor(nowMs) - lastMs(r.last), to: Math.floor(nowMs) };
}

/** The next wider preset; undefined when the range is already the widest. */
export function wider(r: Range, nowMs: number): Range | undefined {
  const length = r.kind === "last" ? lastMs(r.last) : nowMs - r.from;
  const next = presets.find((p) => lastMs(p) > length);
  return next ? { kind: "last", last: next } : undefined;
}

/** ISO text without needless zeros, as it stands in URLs: 2026-11-21T08:00:00Z. */
export function isoInstant(ms: number): string {
  return new Date(ms).toISOString().replace(".000Z", "Z");
}

/** parseIso takes ISO dates and plain milliseconds; undefined for anything else. */
export function parseIso(text: string): number | undefined {
  if (/^\d{12,14}$/.test(text)) return Number(text);
  if (!/^\d{4}-\d\d-\d\d/.test(text)) return undefined;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : ms;
}
