import type { Status } from "../api/types";

/** Named rates of the server, percent. */
export const presets = { dev: 100, staging: 10, prod: 1, "prod-high": 0.1 } as const;
export type Preset = keyof typeof presets;
export const presetNames = Object.keys(presets) as Preset[];

/** percentOf reads a preset or a percentage; undefined if it is neither, or not from 0.01 to 100. */
export function percentOf(sampling: string): number | undefined {
  const text = sampling.trim().replace(/%$/, "").trim();
  if (Object.hasOwn(presets, text)) return presets[text as Preset];
  if (!/^\d*\.?\d+$/.test(text)) return undefined;
  const n = Number(text);
  return n >= 0.01 && n <= 100 ? n : undefined;
}

/** requestsPerTrace is N of "1 in N", with one digit behind the point where it is no whole number. */
export function requestsPerTrace(percent: number): number {
  return Math.round(1000 / percent) / 10;
}

/** What arrives, and what it takes. */
export interface Load {
  spansPerSecond: number;
  /** On the disk, or in memory where the store has no disk; undefined if nothing is stored that would tell. */
  bytesPerSpan: number | undefined;
  spansPerTrace: number | undefined;
}

export function loadOf(status: Status): Load {
  const { store } = status;
  const hours = (store.segments?.hours ?? []).filter((h) => (h.spans ?? 0) > 0);
  const spans = hours.reduce((n, h) => n + (h.spans ?? 0), 0);
  const bytes = hours.reduce((n, h) => n + (h.bytes ?? 0), 0);
  const stored = store.spans ?? 0;
  return {
    spansPerSecond: status.receivers.reduce((n, r) => n + r.spansPerSecond, 0),
    bytesPerSpan:
      spans > 0 && bytes > 0
        ? bytes / spans
        : stored > 0 && store.segments === undefined && (store.bytes ?? 0) > 0
          ? (store.bytes ?? 0) / stored
          : undefined,
    spansPerTrace: stored > 0 && (store.traces ?? 0) > 0 ? stored / (store.traces ?? 1) : undefined,
  };
}

export interface Cost {
  spansPerSecond: number;
  tracesPerSecond: number | undefined;
  bytesPerDay: number | undefined;
}

/** costAt scales what arrives at the rate of now to another rate. Undefined if nothing arrives or the present rate is not known. */
export function costAt(percent: number, now: number | undefined, load: Load): Cost | undefined {
  if (now === undefined || !(now > 0) || !(load.spansPerSecond > 0)) return undefined;
  const spansPerSecond = (load.spansPerSecond * percent) / now;
  return {
    spansPerSecond,
    tracesPerSecond: load.spansPerTrace === undefined ? undefined : spansPerSecond / load.spansPerTrace,
    bytesPerDay: load.bytesPerSpan === undefined ? undefined : spansPerSecond * load.bytesPerSpan * 86_400,
  };
}
