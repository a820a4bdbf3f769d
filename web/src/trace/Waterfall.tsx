import { defaultRangeExtractor, useVirtualizer } from "@tanstack/react-virtual";
import { memo, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { type BarScene, drawBars, margin } from "../draw/bars";
import { onceAFrame, sizeCanvas } from "../draw/canvas";
import { readTokens } from "../draw/tokens";
import { useI18n } from "../i18n";
import { slotVar } from "../model/colour";
import type { Piece } from "../model/criticalPath";
import { niceStep } from "../model/duration";
import { shortOperation } from "../model/envoy";
import { hopIsFolded, type Rows, rowHasError } from "../model/rows";
import { flag, subtreeErrors, type Trace } from "../model/trace";
import { visible } from "../model/visible";
import { zoom } from "../model/window";
import { controls } from "../shell/controls";
import { ErrorMark, Icon } from "../shell/Icon";
import { prefs, resolvedTheme, usePrefs } from "../shell/prefs";
import { doubtful, markTexts } from "./marks";
import { Splitter } from "./Splitter";
import css from "./Waterfall.module.css";
import { useWindow, type WindowStore } from "./windowStore";

export interface WaterfallProps {
  trace: Trace;
  rows: Rows;
  window: WindowStore;
  /** Rows of the trace, not positions. */
  focused: number;
  selected: number;
  hits: ReadonlySet<number>;
  critical: Map<number, Piece[]> | undefined;
  /** Counts up when the focus is to be put on the focused row. */
  focusAsked: number;
  onFocus: (row: number) => void;
  onSelect: (row: number) => void;
  onToggle: (row: number) => void;
  onToggleHop: (row: number) => void;
}

function axisStep([from, to]: readonly [number, number], width: number): number {
  return niceStep(to - from, Math.max(2, Math.floor(width / 110)));
}

/** Times at which the axis has a line, in round steps. */
export function axisTicks([from, to]: readonly [number, number], width: number): number[] {
  const step = axisStep([from, to], width);
  const out: number[] = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) out.push(at);
  return out;
}

/**
 * The waterfall: names, focus and everything a screen reader needs in the document, bars on one canvas
 * that is painted from the scroll position. Only the rows in sight exist.
 */
export function Waterfall(p: WaterfallProps) {
  const { t, f } = useI18n();
  const { nameWidth, density } = usePrefs();
  const scroll = useRef<HTMLDivElement>(null);
  const rowHeight = density === "dense" ? 20 : 24;
  const position = p.rows.position[p.focused] ?? -1;

  const virtual = useVirtualizer({
    count: p.rows.count,
    getScrollElement: () => scroll.current,
    estimateSize: () => rowHeight,
    overscan: 8,
    // The focused row stays in the document, or the focus would be lost when it scrolls out of sight.
    rangeExtractor: (range) => {
      const shown = defaultRangeExtractor(range);
      if (position < 0 || (position >= shown[0]! && position <= shown[shown.length - 1]!)) return shown;
      return position < shown[0]! ? [position, ...shown] : [...shown, position];
    },
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the virtualizer is told, it does not watch
  useLayoutEffect(() => virtual.measure(), [rowHeight]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: only when asked for
  useLayoutEffect(() => {
    if (p.focusAsked === 0 || position < 0) return;
    virtual.scrollToIndex(position, { align: "auto" });
    const focus = () => {
      const el = scroll.current?.querySelector<HTMLElement>(`[data-row="${p.focused}"]`);
      el?.focus({ preventScroll: true });
      return el !== undefined && el !== null;
    };
    if (!focus()) requestAnimationFrame(focus);
  }, [p.focusAsked]);

  const step = useMemo(() => {
    let deepest = 1;
    for (let i = 0; i < p.rows.count; i++) deepest = Math.max(deepest, p.rows.level[i]!);
    return Math.max(2, Math.min(14, (nameWidth * 0.45) / deepest));
  }, [p.rows, nameWidth]);
  const depth = useMemo(() => {
    let deepest = 0;
    for (let i = 0; i < p.rows.count; i++) deepest = Math.max(deepest, p.rows.level[i]!);
    return deepest + 1;
  }, [p.rows]);
  const total = f.duration(p.trace.traceDuration);
  const tabStop = position >= 0 ? p.focused : (p.rows.row[0] ?? -1);

  return (
    <div className={css["frame"]} style={{ "--name-width": `${nameWidth}px` } as React.CSSProperties}>
      <div
        role="treegrid"
        aria-label={t.trace.grid}
        aria-rowcount={p.rows.count + 1}
        aria-readonly="true"
        data-keys="waterfall details"
        className={css["grid"]}
      >
        <div role="rowgroup" className={css["headGroup"]}>
          <div role="row" aria-rowindex={1} className={css["head"]}>
            <div role="columnheader" className={css["nameHead"]}>
              {t.trace.colSpan}
            </div>
            <div role="columnheader" className={css["axis"]}>
              <span className="sr-only">{t.trace.colTime}</span>
              <Axis window={p.window} />
            </div>
          </div>
        </div>
        <div role="rowgroup" ref={scroll} className={css["scroll"]}>
          <Bars {...p} scroll={scroll} rowHeight={rowHeight} nameWidth={nameWidth} />
          <div role="presentation" className={css["rows"]} style={{ height: virtual.getTotalSize() }}>
            {virtual.getVirtualItems().map((item) => {
              const i = item.index;
              const r = p.rows.row[i];
              if (r === undefined) return null;
              return (
                <Row
                  key={r}
                  trace={p.trace}
                  rows={p.rows}
                  index={i}
                  row={r}
                  top={item.start}
                  indent={p.rows.level[i]! * step}
                  depth={depth}
                  total={total}
                  tabStop={r === tabStop}
                  selected={p.selected >= 0 && p.rows.position[p.selected] === i}
                  hit={p.hits.has(r)}
                  onFocus={p.onFocus}
                  onSelect={p.onSelect}
                  onToggle={p.onToggle}
                  onToggleHop={p.onToggleHop}
                />
              );
            })}
          </div>
        </div>
      </div>
      <Splitter
        className={css["splitter"]}
        style={{ left: nameWidth - 4 }}
        label={t.trace.resizeNames}
        value={nameWidth}
        min={160}
        max={900}
        onChange={(nameWidth) => prefs.change({ nameWidth })}
      />
    </div>
  );
}

interface RowProps {
  trace: Trace;
  rows: Rows;
  index: number;
  row: number;
  top: number;
  indent: number;
  depth: number;
  total: string;
  tabStop: boolean;
  selected: boolean;
  hit: boolean;
  onFocus: (row: number) => void;
  onSelect: (row: number) => void;
  onToggle: (row: number) => void;
  onToggleHop: (row: number) => void;
}

const Row = memo(function Row(p: RowProps) {
  const { t, f } = useI18n();
  const { trace, rows, index: i, row: r } = p;
  const flags = trace.flags[r]!;
  const missing = (flags & flag.missing) !== 0;
  const service = trace.services[trace.service[r]!];
  const name = trace.names[trace.name[r]!] ?? "";
  const failed = rowHasError(trace, rows.hops, r);
  const parent = rows.children[i]! > 0;
  const open = rows.open[i] === 1;
  const folded = rows.hops.folded[r]!;
  const hopTop = rows.hops.top[r]!;
  const foldable = hopTop === r && rows.hops.foldable[r]! > 0 && !hopIsFolded(rows.hops, r, trace.end[r]!);
  const level = rows.level[i]! + 1;
  const below = !open && parent ? subtreeErrors(trace, r) - (flags & flag.error) : 0;
  const marks = markTexts(flags, t);
  const duration = f.duration(trace.duration[r]!);
  const title = missing ? t.trace.missing : `${service?.name ?? ""} ${name}`;
  const label = missing
    ? t.trace.rowMissing(level, p.depth)
    : (failed ? t.trace.rowError : t.trace.row)(title, duration, p.total, level, p.depth);
  return (
    // The keys of a row are in the table of shortcuts.
    // biome-ignore lint/a11y/useKeyWithClickEvents: see above
    <div
      role="row"
      data-row={r}
      aria-rowindex={i + 2}
      aria-level={level}
      aria-posinset={rows.place[i]!}
      aria-setsize={rows.siblings[i]!}
      aria-expanded={parent ? open : undefined}
      aria-selected={p.selected}
      aria-label={[label, ...marks].join(", ")}
      tabIndex={p.tabStop ? 0 : -1}
      className={css["row"]}
      data-hit={p.hit}
      data-missing={missing}
      style={{ transform: `translateY(${p.top}px)` }}
      onFocus={(e) => {
        if (e.target === e.currentTarget) p.onFocus(r);
      }}
      onClick={() => p.onSelect(r)}
    >
      <div
        role="gridcell"
        className={css["name"]}
        style={{ paddingInlineStart: p.indent + 4 }}
        title={missing ? t.trace.missingHelp : title}
      >
        {parent ? (
          <button
            type="button"
            tabIndex={-1}
            aria-hidden="true"
            className={css["toggle"]}
            onClick={(e) => {
              e.stopPropagation();
              p.onToggle(r);
            }}
          >
            <Icon name={open ? "chevronDown" : "chevronRight"} size={12} />
          </button>
        ) : (
          <span className={css["toggle"]} />
        )}
        {missing ? (
          <span className={css["missing"]}>{t.trace.missing}</span>
        ) : (
          <>
            <span className={controls["tick"]} style={{ background: slotVar(service?.slot ?? 0) }} />
            {failed ? <ErrorMark /> : null}
            <span className={css["service"]}>{visible(service?.name ?? "")}</span>
            <span className={css["operation"]}>{shortOperation(name)}</span>
          </>
        )}
        {marks.length > 0 ? (
          <span className={css["mark"]} data-doubtful={(flags & doubtful) !== 0} title={marks.join("\n")}>
            {flags & doubtful ? <Icon name="warning" size={12} /> : "i"}
          </span>
        ) : null}
        {folded > 0 || foldable ? (
          <button
            type="button"
            tabIndex={-1}
            className={css["hop"]}
            data-text={folded > 0 ? `+${folded}` : "−"}
            title={folded > 0 ? t.trace.unfoldHop(folded) : t.trace.foldHop}
            aria-label={folded > 0 ? t.trace.unfoldHop(folded) : t.trace.foldHop}
            onClick={(e) => {
              e.stopPropagation();
              p.onToggleHop(r);
            }}
          />
        ) : null}
        {below > 0 ? (
          <span className={css["below"]} title={t.trace.foldedErrors(below)}>
            <ErrorMark size={10} /> {below}
          </span>
        ) : null}
        {parent && !open ? (
          <span className={css["count"]} title={t.trace.foldedSpans(f.integer(trace.end[r]! - r - 1))}>
            {f.integer(trace.end[r]! - r - 1)}
          </span>
        ) : null}
      </div>
      <div role="gridcell" className={css["time"]}>
        <span className="sr-only">{missing ? "" : duration}</span>
      </div>
    </div>
  );
});

/** The bars: one canvas that stays in sight while the rows scroll below it. */
function Bars(
  p: WaterfallProps & {
    scroll: React.RefObject<HTMLDivElement | null>;
    rowHeight: number;
    nameWidth: number;
  },
) {
  const { f } = useI18n();
  const canvas = useRef<HTMLCanvasElement>(null);
  const theme = resolvedTheme(usePrefs());
  const latest = useRef(p);
  latest.current = p;
  const [painter] = useState(() => {
    let tokens = readTokens();
    const draw = () => {
      const { scroll, trace, rows, window, rowHeight, nameWidth, critical } = latest.current;
      const el = scroll.current;
      if (!canvas.current || !el) return;
      const width = Math.max(0, el.clientWidth - nameWidth);
      const height = el.clientHeight;
      canvas.current.style.width = `${width}px`;
      canvas.current.style.height = `${height}px`;
      const ctx = sizeCanvas(canvas.current, width, height);
      if (!ctx) return;
      const scene: BarScene = {
        trace,
        rows,
        window: window.get(),
        top: el.scrollTop,
        width,
        height,
        rowHeight,
        critical,
        ticks: axisTicks(window.get(), width - margin),
        durationText: (ns) => format.current.duration(ns),
      };
      drawBars(ctx, scene, tokens);
    };
    return { ...onceAFrame(draw), retoken: () => (tokens = readTokens()) };
  });
  const format = useRef(f);
  format.current = f;

  useEffect(() => {
    const el = p.scroll.current;
    if (!el) return;
    const { ask, stop } = painter;
    el.addEventListener("scroll", ask, { passive: true });
    const unsubscribe = p.window.subscribe(ask);
    const watch = new ResizeObserver(ask);
    watch.observe(el);
    const wheel = (e: WheelEvent) => {
      if (!e.ctrlKey && !e.metaKey) return;
      e.preventDefault();
      const box = el.getBoundingClientRect();
      const left = box.left + latest.current.nameWidth;
      const at = Math.min(
        1,
        Math.max(0, (e.clientX - left) / (el.clientWidth - latest.current.nameWidth - margin)),
      );
      const { window } = latest.current;
      window.set(
        zoom(window.get(), Math.exp(Math.max(-60, Math.min(60, e.deltaY)) / 150), at, window.duration),
      );
    };
    el.addEventListener("wheel", wheel, { passive: false });
    return () => {
      stop();
      el.removeEventListener("scroll", ask);
      el.removeEventListener("wheel", wheel);
      unsubscribe();
      watch.disconnect();
    };
  }, [painter, p.scroll, p.window]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the theme changes what readTokens reads
  useEffect(() => {
    painter.retoken();
    painter.ask();
  }, [painter, theme]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: what is drawn, read when it is due
  useEffect(painter.ask, [p.rows, p.trace, p.critical, p.rowHeight, p.nameWidth, f]);

  return (
    <div className={css["bars"]} aria-hidden="true">
      <canvas ref={canvas} style={{ marginInlineStart: p.nameWidth }} />
    </div>
  );
}

/** The time axis above the bars; a drag on it chooses the window. */
function Axis({ window: store }: { window: WindowStore }) {
  const { f } = useI18n();
  const w = useWindow(store);
  const ref = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  const [drag, setDrag] = useState<readonly [number, number]>();
  useLayoutEffect(() => {
    const el = ref.current;
    if (!el) return;
    const watch = new ResizeObserver(() => setWidth(el.clientWidth));
    watch.observe(el);
    setWidth(el.clientWidth);
    return () => watch.disconnect();
  }, []);
  const inner = Math.max(1, width - margin);
  const onPointerDown = (e: React.PointerEvent) => {
    if (e.button !== 0 || !ref.current) return;
    e.preventDefault();
    const box = ref.current.getBoundingClientRect();
    const x = (clientX: number) => Math.min(inner, Math.max(0, clientX - box.left));
    const begin = x(e.clientX);
    const time = (px: number) => w[0] + (px / inner) * (w[1] - w[0]);
    const move = (m: PointerEvent) => setDrag([Math.min(begin, x(m.clientX)), Math.max(begin, x(m.clientX))]);
    const up = (m: PointerEvent) => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", up);
      setDrag(undefined);
      if (Math.abs(x(m.clientX) - begin) > 4) {
        store.set([time(Math.min(begin, x(m.clientX))), time(Math.max(begin, x(m.clientX)))]);
      }
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", up);
  };
  return (
    <div className={css["ticks"]} ref={ref} onPointerDown={onPointerDown} aria-hidden="true">
      {width > 0
        ? axisTicks(w, inner).map((at) => {
            const x = ((at - w[0]) / (w[1] - w[0])) * inner;
            return x > inner - 40 ? null : (
              <span key={at} style={{ left: x }}>
                {f.axis(at, axisStep(w, inner), w[1])}
              </span>
            );
          })
        : null}
      {drag ? <div className={css["drag"]} style={{ left: drag[0], width: drag[1] - drag[0] }} /> : null}
    </div>
  );
}
