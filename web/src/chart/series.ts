import type { SeriesPoint } from "../map/api";
import { instantMs } from "../model/time";
import type { Dot, Line } from "./Chart";

/** RED over time as two charts take it: middles of buckets, lines, and traces that stand for them. */
export interface RedCharts {
  times: number[];
  rate: (texts: { calls: string; errors: string }) => Line[];
  latency: (texts: { p50: string; p95: string; p99: string }) => Line[];
  /** Slow traces for the chart of durations, and failed ones for that of errors: of the worst buckets only. */
  slow: Dot[];
  failed: Dot[];
}

/** How many traces stand on a chart: more than this are a row of beads that nobody clicks. */
const mostDots = 10;

export function redCharts(series: readonly SeriesPoint[]): RedCharts {
  const times = series.map((p) => instantMs(p.start) + p.duration / 2e6);
  const duration = (pick: "p50" | "p95" | "p99") => series.map((p) => (p.red.n > 0 ? p.red[pick] : null));
  const slow: Dot[] = [];
  const failed: Dot[] = [];
  for (const [i, p] of series.entries()) {
    if (p.red.n === 0) continue;
    const at = times[i]!;
    if (p.slowest) slow.push({ at, value: p.red.p99, traceId: p.slowest, failed: p.slowest === p.failed });
    if (p.failed) failed.push({ at, value: p.red.rate * p.red.errorRate, traceId: p.failed, failed: true });
  }
  const worst = (dots: Dot[]) =>
    [...dots]
      .sort((a, b) => b.value - a.value)
      .slice(0, mostDots)
      .sort((a, b) => a.at - b.at);
  return {
    times,
    rate: (t) => [
      { label: t.calls, values: series.map((p) => p.red.rate), color: "--accent", fill: true },
      {
        label: t.errors,
        values: series.map((p) => p.red.rate * p.red.errorRate),
        color: "--error",
        fill: true,
      },
    ],
    latency: (t) => [
      { label: t.p50, values: duration("p50"), color: "--text-3" },
      { label: t.p95, values: duration("p95"), color: "--accent" },
      { label: t.p99, values: duration("p99"), color: "--accent", dash: true },
    ],
    slow: worst(slow),
    failed: worst(failed),
  };
}
