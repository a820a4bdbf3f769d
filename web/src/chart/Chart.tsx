import { later } from "../shell/later";
import css from "./Chart.module.css";

/** One line of a chart; null where there is no value. */
export interface Line {
  label: string;
  values: (number | null)[];
  /** A variable of tokens.css: "--accent". */
  color: string;
  /** The area below is filled. */
  fill?: boolean;
  dash?: boolean;
}

/** A trace on a chart. */
export interface Dot {
  /** Milliseconds since the epoch, and the value of the axis. */
  at: number;
  value: number;
  traceId: string;
  failed: boolean;
}

export interface ChartProps {
  /** What it shows, for those who do not see it; the figures are in the tables of the page. */
  label: string;
  /** Middles of the buckets, milliseconds. */
  times: number[];
  lines: Line[];
  dots?: Dot[];
  height?: number;
  /** Values of the axis and of the tip. */
  format: (value: number) => string;
  /** Instants of the axis, and of the tip. */
  formatTime: (ms: number) => string;
  /** Dragging chose a stretch of time, milliseconds. */
  onRange?: (from: number, to: number) => void;
  onTrace?: (traceId: string) => void;
}

const Plot = later(() => import("./Plot"));

/** A chart over time. The library behind it comes when the first chart is shown, and could be another one. */
export function Chart(p: ChartProps) {
  const height = p.height ?? 120;
  return (
    <div className={css["chart"]} aria-label={p.label} role="img">
      <div className={css["legend"]} aria-hidden="true">
        <span className={css["title"]}>{p.label}</span>
        {p.lines.map((l) => (
          <span key={l.label} className={css["key"]}>
            <span
              className={css["swatch"]}
              data-dash={l.dash ?? false}
              style={{ color: `var(${l.color})` }}
            />
            {l.label}
          </span>
        ))}
      </div>
      <div style={{ height }}>
        <Plot {...p} height={height} />
      </div>
    </div>
  );
}
