import { useMemo } from "react";
import { useI18n } from "../i18n";
import type { SeriesPoint } from "../map/api";
import { axisTime } from "./axisTime";
import { Chart } from "./Chart";
import { redCharts } from "./series";

/** RED over time of a service or a call: calls and errors above, durations below or beside. Dots are traces, a drag is a range. */
export function RedCharts(p: {
  series: readonly SeriesPoint[];
  heights: { rate: number; latency: number };
  onRange: (from: number, to: number) => void;
  onTrace: (id: string) => void;
}) {
  const { t, f } = useI18n();
  const charts = useMemo(() => redCharts(p.series), [p.series]);
  const shared = {
    times: charts.times,
    formatTime: axisTime(t.code, charts.times),
    onRange: p.onRange,
    onTrace: p.onTrace,
  };
  return (
    <>
      <Chart
        {...shared}
        label={t.map.chartRate}
        lines={charts.rate({ calls: t.map.calls, errors: t.map.errors })}
        dots={charts.failed}
        height={p.heights.rate}
        format={(v) => f.number(v)}
      />
      <Chart
        {...shared}
        label={t.map.chartLatency}
        lines={charts.latency({ p50: t.map.p50, p95: t.map.p95, p99: t.map.p99 })}
        dots={charts.slow}
        height={p.heights.latency}
        format={(v) => f.duration(v)}
      />
    </>
  );
}
