import { useEffect, useId, useRef, useState } from "react";
import { Link } from "wouter";
import { ApiError } from "../api/client";
import type { Heatmap } from "../api/types";
import { onceAFrame, sizeCanvas } from "../draw/canvas";
import { drawHeat } from "../draw/heat";
import { readTokens } from "../draw/tokens";
import { type I18n, useI18n } from "../i18n";
import type { Apart } from "../model/apart";
import type { Filter } from "../model/filters";
import {
  type Area,
  areaOf,
  cellAt,
  durationsOf,
  narrows,
  type Plot,
  type Point,
  plotOf,
  rectOf,
  sumOf,
  timesOf,
} from "../model/heatGrid";
import { nsText } from "../model/nsText";
import { instantMs, type Range } from "../model/time";
import { controls } from "../shell/controls";
import { Icon } from "../shell/Icon";
import { prefs, usePrefs } from "../shell/prefs";
import { ErrorNotice, Loading, PartialNotice } from "../shell/states";
import css from "./HeatPanel.module.css";
import { HeatTable } from "./HeatTable";

interface Props {
  heat: Heatmap | undefined;
  busy: boolean;
  error: unknown;
  onRetry: () => void;
  /** Adds conditions, and where given another time range; false where the query cannot be narrowed. */
  onNarrow: (filters: Filter[], range?: Range) => boolean;
  onApart: (apart: Apart) => void;
}

/** Duration over time, above the results: where the slow and the failed ones lie, and the way to them. */
export function HeatPanel(p: Props) {
  const { t, f } = useI18n();
  const { heatmap: shown } = usePrefs();
  const [table, setTable] = useState(false);
  const [refused, setRefused] = useState(false);
  const { heat } = p;
  const narrow: Props["onNarrow"] = (filters, range) => {
    const done = p.onNarrow(filters, range);
    setRefused(!done);
    return done;
  };
  const choose = (a: Area) => {
    if (!heat) return;
    const { time, duration } = narrows(heat, a);
    const { least, most } = durationsOf(heat, a);
    const { from, to } = timesOf(heat, a);
    narrow(duration ? durationFilters(least, most) : [], time ? { kind: "between", from, to } : undefined);
  };
  const apart = (a: Area) => {
    if (!heat) return;
    p.onApart({ kind: "area", ...timesOf(heat, a), ...durationsOf(heat, a) });
  };
  if (!shown) {
    return (
      <div className={css["closed"]}>
        <button type="button" className={controls["plain"]} onClick={() => prefs.change({ heatmap: true })}>
          {t.heatmap.show}
        </button>
      </div>
    );
  }
  const unsupported = p.error instanceof ApiError && p.error.kind === "unsupported";
  const { red } = heat ?? {};
  return (
    <section className={css["panel"]} aria-label={t.heatmap.title}>
      <div className={css["bar"]}>
        <h2>{t.heatmap.title}</h2>
        {heat && red ? (
          <p className={css["figures"]}>
            <span>
              {(heat.of === "roots" ? t.heatmap.roots : t.heatmap.matches)(red.n, f.integer(red.n))}
            </span>
            {red.errors > 0 ? (
              <span className={controls["error"]}>{t.heatmap.failed(red.errors, f.integer(red.errors))}</span>
            ) : null}
            {red.n > 0 ? (
              <span>
                {t.heatmap.percentiles(f.duration(red.p50), f.duration(red.p95), f.duration(red.p99))}
              </span>
            ) : null}
          </p>
        ) : null}
        <span className={css["tools"]}>
          <button
            type="button"
            className={controls["button"]}
            disabled={!red || red.n < 2}
            title={red ? t.heatmap.slowestHelp(f.duration(red.p99)) : undefined}
            onClick={() => red && narrow([{ field: "duration", op: ">=", value: nsText(red.p99) }])}
          >
            {t.heatmap.slowest}
          </button>
          <button
            type="button"
            className={controls["button"]}
            disabled={!red || red.n < 2}
            onClick={() => p.onApart({ kind: "slow" })}
          >
            {t.heatmap.apart}
          </button>
          <button type="button" className={controls["button"]} onClick={() => setTable(!table)}>
            {table ? t.heatmap.chart : t.heatmap.table}
          </button>
          <button
            type="button"
            className={controls["icon"]}
            aria-label={t.heatmap.hide}
            title={t.heatmap.hide}
            onClick={() => prefs.change({ heatmap: false })}
          >
            <Icon name="chevronUp" />
          </button>
        </span>
      </div>
      {unsupported ? (
        <p className={css["note"]}>{t.heatmap.unsupported}</p>
      ) : p.error ? (
        <div className={css["notices"]}>
          <ErrorNotice error={p.error} onRetry={p.onRetry} />
        </div>
      ) : !heat ? (
        <div className={css["waiting"]}>{p.busy ? <Loading rows={4} /> : null}</div>
      ) : heat.cells.length === 0 ? (
        <p className={css["note"]}>{t.heatmap.nothing}</p>
      ) : table ? (
        <HeatTable heat={heat} onChoose={choose} />
      ) : (
        <Chart heat={heat} busy={p.busy} onChoose={choose} onApart={apart} />
      )}
      <div className={css["notices"]}>
        <PartialNotice complete={heat?.complete} reason={heat?.reason} away={heat?.away} read={heat?.read} />
      </div>
      {heat?.ignored?.length ? <p className={css["note"]}>{t.heatmap.ignored}</p> : null}
      {refused ? (
        <p className={css["note"]} role="alert">
          {t.heatmap.cannotNarrow}
        </p>
      ) : null}
    </section>
  );
}

function durationFilters(least: number, most: number): Filter[] {
  const out: Filter[] = [];
  if (least > 0) out.push({ field: "duration", op: ">=", value: nsText(least) });
  if (most > 0) out.push({ field: "duration", op: "<", value: nsText(most) });
  return out;
}

const height = 164;

function Chart(p: { heat: Heatmap; busy: boolean; onChoose: (a: Area) => void; onApart: (a: Area) => void }) {
  const { t, f } = useI18n();
  const { heat } = p;
  const id = useId();
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [width, setWidth] = useState(0);
  const [cursor, setCursor] = useState<Point>();
  const [anchor, setAnchor] = useState<Point>();
  const [acting, setActing] = useState(false);
  const dragging = useRef(false);
  const { theme, density } = usePrefs();
  const rows = heat.bounds.length - 1;
  const plot: Plot | undefined = width ? plotOf(heat, width, height) : undefined;
  const area = cursor ? areaOf(anchor ?? cursor, cursor) : undefined;

  useEffect(() => {
    const el = box.current;
    if (!el) return;
    const observer = new ResizeObserver(() => setWidth(el.clientWidth));
    observer.observe(el);
    setWidth(el.clientWidth);
    return () => observer.disconnect();
  }, []);

  // Another answer has other cells.
  // biome-ignore lint/correctness/useExhaustiveDependencies: the answer is what changed
  useEffect(() => {
    setCursor(undefined);
    setAnchor(undefined);
    setActing(false);
  }, [heat]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: theme and density change the tokens
  useEffect(() => {
    if (!plot || !canvas.current) return;
    const painter = onceAFrame(() => {
      const ctx = canvas.current && sizeCanvas(canvas.current, width, height);
      if (!ctx) return;
      drawHeat(ctx, readTokens(), heat, plot, {
        duration: f.duration,
        time: f.time,
        startMs: instantMs(heat.start),
      });
    });
    painter.ask();
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", painter.ask);
    return () => {
      painter.stop();
      dark.removeEventListener("change", painter.ask);
    };
  }, [heat, width, theme, density, f]);

  const at = (e: React.PointerEvent): Point | undefined => {
    if (!plot || !box.current) return undefined;
    const r = box.current.getBoundingClientRect();
    return cellAt(plot, e.clientX - r.left, e.clientY - r.top, rows);
  };
  const clear = () => {
    setActing(false);
    setAnchor(undefined);
    setCursor(undefined);
    box.current?.focus({ preventScroll: true });
  };
  const onKeyDown = (e: React.KeyboardEvent) => {
    if (e.target !== e.currentTarget || e.ctrlKey || e.metaKey || e.altKey) return;
    const steps: Record<string, [number, number]> = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, 1],
      ArrowDown: [0, -1],
      Home: [-heat.columns, 0],
      End: [heat.columns, 0],
      PageUp: [0, rows],
      PageDown: [0, -rows],
    };
    const by = steps[e.key];
    if (by) {
      e.preventDefault();
      e.stopPropagation();
      setActing(false);
      const first = heat.cells.reduce((best, c) => (c.n > best.n ? c : best), heat.cells[0]!);
      const from = cursor ?? { column: first.column - by[0], row: first.row - by[1] };
      const to = {
        column: Math.min(heat.columns - 1, Math.max(0, from.column + by[0])),
        row: Math.min(rows - 1, Math.max(0, from.row + by[1])),
      };
      setAnchor(e.shiftKey ? (anchor ?? cursor) : undefined);
      setCursor(to);
    } else if (e.key === "Enter" && area) {
      e.preventDefault();
      e.stopPropagation();
      setActing(true);
    } else if (e.key === "Escape" && area) {
      e.preventDefault();
      e.stopPropagation();
      clear();
    }
  };

  const rect = plot && area ? rectOf(plot, area) : undefined;
  const words = area ? areaWords(heat, area, t, f) : "";
  return (
    <div className={css["chart"]}>
      <div
        ref={box}
        className={css["box"]}
        style={{ height }}
        role="application"
        aria-label={t.heatmap.label}
        aria-describedby={`${id}help`}
        aria-busy={p.busy}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: an application has keys of its own
        tabIndex={0}
        title={area ? undefined : t.heatmap.help}
        onKeyDown={onKeyDown}
        onPointerDown={(e) => {
          const point = at(e);
          if (!point || e.button !== 0 || e.target !== canvas.current) return;
          dragging.current = true;
          e.currentTarget.setPointerCapture(e.pointerId);
          setActing(false);
          setAnchor(e.shiftKey && cursor ? (anchor ?? cursor) : point);
          setCursor(point);
        }}
        onPointerMove={(e) => {
          const point = at(e);
          if (dragging.current && point) setCursor(point);
        }}
        onPointerUp={() => {
          if (dragging.current) setActing(true);
          dragging.current = false;
        }}
        onPointerCancel={() => {
          dragging.current = false;
          clear();
        }}
      >
        <canvas ref={canvas} className={css["canvas"]} />
        {rect ? (
          <div
            className={css["area"]}
            style={{ left: rect.x, top: rect.y, width: rect.width, height: rect.height }}
          />
        ) : null}
      </div>
      <p id={`${id}help`} className="sr-only">
        {t.heatmap.help}
      </p>
      <p className="sr-only" aria-live="polite">
        {words}
      </p>
      {acting && area && rect ? (
        <Actions
          heat={heat}
          area={area}
          words={words}
          left={Math.min(Math.max(rect.x, 8), Math.max(8, width - 520))}
          onChoose={() => p.onChoose(area)}
          onApart={() => {
            p.onApart(area);
            clear();
          }}
          onClear={clear}
        />
      ) : null}
    </div>
  );
}

function areaWords(heat: Heatmap, area: Area, t: I18n["t"], f: I18n["f"]): string {
  const { from, to } = timesOf(heat, area);
  const { n, errors } = sumOf(heat, area);
  return t.heatmap.cell(
    t.heatmap.between(f.time(from), f.time(to)),
    durationWords(heat, area, t, f),
    t.heatmap.count(n, f.integer(n)),
    t.heatmap.failed(errors, f.integer(errors)),
  );
}

export function durationWords(heat: Heatmap, area: Area, t: I18n["t"], f: I18n["f"]): string {
  const { least, most } = durationsOf(heat, area);
  return t.heatmap.between(f.duration(least), f.duration(most));
}

/** What can be done with a part of the heatmap. It has the focus, Escape gives it back. */
function Actions(p: {
  heat: Heatmap;
  area: Area;
  words: string;
  left: number;
  onChoose: () => void;
  onApart: () => void;
  onClear: () => void;
}) {
  const { t } = useI18n();
  const first = useRef<HTMLButtonElement>(null);
  const { n, example } = sumOf(p.heat, p.area);
  useEffect(() => first.current?.focus({ preventScroll: true }), []);
  return (
    <div
      className={css["actions"]}
      style={{ left: p.left }}
      role="group"
      aria-label={t.heatmap.chosen}
      onKeyDown={(e) => {
        if (e.key !== "Escape") return;
        e.preventDefault();
        e.stopPropagation();
        p.onClear();
      }}
    >
      <p>{p.words}</p>
      <div>
        <button
          ref={first}
          type="button"
          className={`${controls["button"]} ${controls["primary"]}`}
          onClick={p.onChoose}
        >
          {t.heatmap.filter}
        </button>
        <button type="button" className={controls["button"]} disabled={n === 0} onClick={p.onApart}>
          {t.heatmap.apartOf}
        </button>
        {example ? (
          <Link className={controls["button"]} href={`/trace/${example}`}>
            {t.heatmap.example}
          </Link>
        ) : null}
        <button
          type="button"
          className={controls["icon"]}
          aria-label={t.heatmap.clear}
          title={t.heatmap.clear}
          onClick={p.onClear}
        >
          <Icon name="close" />
        </button>
      </div>
    </div>
  );
}
