import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { resolvedTheme, usePrefs } from "../shell/prefs";
import type { ChartProps, Dot } from "./Chart";
import css from "./Chart.module.css";

/** The chart as uPlot draws it. Only this file knows the library. */
export default function Plot(p: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const tip = useRef<HTMLDivElement>(null);
  const latest = useRef(p);
  latest.current = p;
  const theme = resolvedTheme(usePrefs());
  // uPlot keeps series and scales for good, so another shape of the data is another plot.
  const shape = JSON.stringify([p.lines.map((l) => [l.label, l.color, l.fill, l.dash]), p.height, theme]);
  const plot = useRef<uPlot>(undefined);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new shape or theme is a new plot
  useEffect(() => {
    const el = box.current;
    if (!el) return;
    const made = new uPlot(options(el, tip.current, latest), dataOf(latest.current), el);
    plot.current = made;
    const resize = new ResizeObserver(() => {
      if (el.clientWidth > 0) made.setSize({ width: el.clientWidth, height: latest.current.height ?? 120 });
    });
    resize.observe(el);
    return () => {
      resize.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, [shape]);

  useEffect(() => {
    plot.current?.setData(dataOf(p));
  }, [p]);

  return (
    <div className={css["plot"]} ref={box} data-click={p.onTrace !== undefined}>
      <div className={css["tip"]} ref={tip} aria-hidden="true" />
    </div>
  );
}

function dataOf(p: ChartProps): uPlot.AlignedData {
  return [p.times.map((t) => t / 1000), ...p.lines.map((l) => l.values)];
}

function options(el: HTMLElement, tip: HTMLElement | null, latest: { current: ChartProps }): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const token = (name: string) => style.getPropertyValue(name).trim();
  const { lines } = latest.current;
  const font = `12px ${token("--font")}`;
  const axis = { stroke: token("--text-2"), font, ticks: { show: false } };
  const grid = { stroke: token("--line"), width: 1 };
  const widest = () => {
    const p = latest.current;
    const most = Math.max(0, ...p.lines.flatMap((l) => l.values.map((v) => v ?? 0)));
    return Math.min(90, 16 + p.format(most).length * 7);
  };
  return {
    width: Math.max(60, el.clientWidth),
    height: latest.current.height ?? 120,
    padding: [6, 18, 0, 0],
    legend: { show: false },
    scales: {
      x: { time: true },
      y: {
        range: (_u, _min, max) => {
          const dots = latest.current.dots ?? [];
          return [0, Math.max(max ?? 0, ...dots.map((d) => d.value), 1e-9) * 1.08];
        },
      },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 22,
        space: 70,
        values: (_u, at) => at.map((s) => latest.current.formatTime(s * 1000)),
      },
      {
        ...axis,
        grid,
        size: widest,
        space: 28,
        values: (_u, at) => at.map((v) => latest.current.format(v)),
      },
    ],
    series: [
      {},
      ...lines.map(
        (l): uPlot.Series => ({
          label: l.label,
          stroke: token(l.color),
          width: 1.5,
          points: { show: (u, i) => alone(u.data[i]!, u), size: 4 },
          ...(l.fill ? { fill: `color-mix(in srgb, ${token(l.color)} 16%, transparent)` } : {}),
          ...(l.dash ? { dash: [4, 3] } : {}),
        }),
      ),
    ],
    cursor: {
      drag: { x: true, y: false, setScale: false },
      points: { size: 5 },
    },
    hooks: {
      draw: [(u) => drawDots(u, latest.current.dots ?? [], token("--text"), token("--error"), token("--bg"))],
      setCursor: [
        (u) => {
          const i = u.cursor.idx;
          if (!tip) return;
          const p = latest.current;
          tip.textContent =
            i === null || i === undefined || p.times[i] === undefined
              ? ""
              : [
                  p.formatTime(p.times[i]),
                  ...p.lines.flatMap((l) => {
                    const v = l.values[i];
                    return v === null || v === undefined ? [] : [`${l.label} ${p.format(v)}`];
                  }),
                ].join("  ");
        },
      ],
      setSelect: [
        (u) => {
          const { left, width } = u.select;
          if (width < 4) return;
          const from = u.posToVal(left, "x") * 1000;
          const to = u.posToVal(left + width, "x") * 1000;
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          latest.current.onRange?.(from, to);
        },
      ],
      ready: [
        (u) => {
          let down = 0;
          u.over.addEventListener("pointerdown", (e) => {
            down = e.clientX;
          });
          u.over.addEventListener("click", (e) => {
            const { dots, onTrace } = latest.current;
            if (!onTrace || !dots || Math.abs(e.clientX - down) > 3) return;
            const r = u.over.getBoundingClientRect();
            const dot = nearest(u, dots, e.clientX - r.left, e.clientY - r.top);
            if (dot) onTrace(dot.traceId);
          });
        },
      ],
    },
  };
}

/** Whether values stand alone between gaps, where a line of them would be nothing. */
function alone(values: ArrayLike<number | null | undefined>, u: uPlot): boolean {
  let n = 0;
  for (let i = 0; i < values.length; i++) if (values[i] !== null && values[i] !== undefined) n++;
  return n > 0 && n < Math.max(4, u.data[0].length / 4);
}

/** The trace that a click means: the nearest dot, across first, within a thumb's width. */
function nearest(u: uPlot, dots: readonly Dot[], x: number, y: number): Dot | undefined {
  let best: Dot | undefined;
  let cost = 40;
  for (const d of dots) {
    const dx = Math.abs(u.valToPos(d.at / 1000, "x") - x);
    const dy = Math.abs(u.valToPos(d.value, "y") - y);
    const c = dx + dy / 4;
    if (dx < 24 && c < cost) [best, cost] = [d, c];
  }
  return best;
}

/** Slow traces are rings, failed ones filled diamonds in the colour of errors. */
function drawDots(u: uPlot, dots: readonly Dot[], text: string, error: string, ground: string) {
  const { ctx } = u;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.setLineDash([]);
  for (const d of dots) {
    const x = u.valToPos(d.at / 1000, "x", true);
    const y = u.valToPos(d.value, "y", true);
    ctx.beginPath();
    ctx.lineWidth = 1.5 * ratio;
    if (d.failed) {
      const r = 4.5 * ratio;
      ctx.moveTo(x, y - r);
      ctx.lineTo(x + r, y);
      ctx.lineTo(x, y + r);
      ctx.lineTo(x - r, y);
      ctx.closePath();
      ctx.fillStyle = error;
      ctx.strokeStyle = ground;
    } else {
      ctx.arc(x, y, 3.2 * ratio, 0, Math.PI * 2);
      ctx.fillStyle = ground;
      ctx.strokeStyle = text;
    }
    ctx.fill();
    ctx.stroke();
  }
  ctx.restore();
}
