import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { onceAFrame, sizeCanvas } from "../draw/canvas";
import { drawSum, drawTime, flameRow, nodeAt, rowAt } from "../draw/flame";
import { readTokens } from "../draw/tokens";
import { useI18n } from "../i18n";
import { shortOperation } from "../model/envoy";
import type { Flame, Lanes } from "../model/flame";
import { flag, rowOfRef, spanRef, type Trace } from "../model/trace";
import type { TraceView } from "../model/traceUrl";
import { zoom } from "../model/window";
import { controls, Segments, ServiceTag } from "../shell/controls";
import { resolvedTheme, usePrefs } from "../shell/prefs";
import { Loading } from "../shell/states";
import css from "./FlameView.module.css";
import { useComputed } from "./useComputed";
import { useWindow, type WindowStore } from "./windowStore";

interface Props {
  trace: Trace;
  view: TraceView;
  setView: (change: (view: TraceView) => TraceView) => void;
  window: WindowStore;
  hits: ReadonlySet<number>;
  selected: number;
  onSelect: (row: number) => void;
}

/** Where the time went, as a flame graph: summed by call path, or every span in its time. */
export default function FlameView(p: Props) {
  const { t } = useI18n();
  const { view, setView } = p;
  const flame = useComputed(p.trace, "flame", !view.inTime);
  const lanes = useComputed(p.trace, "lanes", view.inTime);
  return (
    <section className={css["view"]} aria-label={t.views.flame}>
      <div className={css["head"]}>
        <Segments
          label={t.flame.order}
          name="flame"
          value={view.inTime ? "time" : "sum"}
          options={[
            { value: "sum", label: t.flame.summed, title: t.flame.summedHelp },
            { value: "time", label: t.flame.inTime, title: t.flame.inTimeHelp },
          ]}
          onChange={(v) => setView((old) => ({ ...old, inTime: v === "time", root: undefined }))}
        />
        {view.inTime ? (
          <span className={controls["muted"]}>{t.flame.inTimeHelp}</span>
        ) : flame ? (
          <Path {...p} flame={flame} />
        ) : null}
      </div>
      {view.inTime ? (
        lanes ? (
          <InTime {...p} lanes={lanes} />
        ) : (
          <Loading />
        )
      ) : flame ? (
        <Summed {...p} flame={flame} />
      ) : (
        <Loading />
      )}
    </section>
  );
}

/** The node whose call path a span of the URL stands for; -1 for all. */
function rootNode(trace: Trace, flame: Flame, ref: string | undefined): number {
  const row = rowOfRef(trace, ref);
  return row < 0 ? -1 : nodeOf(trace, flame, row);
}

/** The node of a span's call path: down from the root, by service and name. */
function nodeOf(trace: Trace, flame: Flame, row: number): number {
  const path: number[] = [];
  for (let r = row; r >= 0; r = trace.parent[r]!) if (!(trace.flags[r]! & flag.missing)) path.push(r);
  let found = -1;
  for (const r of path.reverse()) {
    const end = found < 0 ? flame.count : flame.end[found]!;
    let i = found + 1;
    while (i < end) {
      const f = flame.row[i]!;
      if (trace.service[f] === trace.service[r] && trace.name[f] === trace.name[r]) break;
      i = flame.end[i]!;
    }
    if (i >= end) return found;
    found = i;
  }
  return found;
}

/** The way from the root to the node that fills the width; each step leads back to it. */
function Path({ trace, view, setView, flame }: Props & { flame: Flame }) {
  const { t } = useI18n();
  const root = rootNode(trace, flame, view.root);
  if (root < 0) return <span className={controls["muted"]}>{t.flame.hint}</span>;
  const nodes: number[] = [];
  for (let i = root; i >= 0; i = flame.parent[i]!) nodes.push(i);
  nodes.reverse();
  const shown = nodes.length > 6 ? [...nodes.slice(0, 2), -1, ...nodes.slice(-3)] : nodes;
  return (
    <nav className={css["path"]} aria-label={t.flame.path}>
      <button
        type="button"
        className={controls["plain"]}
        onClick={() => setView((v) => ({ ...v, root: undefined }))}
      >
        {t.flame.all}
      </button>
      {shown.map((i) => (
        <span key={i}>
          <span aria-hidden="true">›</span>{" "}
          {i < 0 ? (
            "…"
          ) : (
            <button
              type="button"
              className={controls["plain"]}
              aria-current={i === root ? "true" : undefined}
              onClick={() => setView((v) => ({ ...v, root: spanRef(trace, flame.row[i]!) }))}
            >
              {shortOperation(trace.names[trace.name[flame.row[i]!]!] ?? "")}
            </button>
          )}
        </span>
      ))}
    </nav>
  );
}

function Summed(p: Props & { flame: Flame }) {
  const { t, f } = useI18n();
  const { trace, flame, view, setView } = p;
  const root = useMemo(() => rootNode(trace, flame, view.root), [trace, flame, view.root]);
  const total = useMemo(() => {
    let sum = 0;
    for (let i = 0; i < flame.count; i = flame.end[i]!) sum += flame.value[i]!;
    return Math.max(1, sum);
  }, [flame]);
  const selected = useMemo(
    () => (p.selected < 0 ? -1 : nodeOf(trace, flame, p.selected)),
    [trace, flame, p.selected],
  );
  const hitNodes = useMemo(() => {
    if (view.find === "") return undefined;
    const found = new Set<number>();
    // Spans of one node have one name; only a few can be found by their ids.
    for (let i = 0; i < flame.count; i++) if (p.hits.has(flame.row[i]!)) found.add(i);
    if (p.hits.size <= 100) for (const r of p.hits) found.add(nodeOf(trace, flame, r));
    return found;
  }, [trace, flame, p.hits, view.find]);
  const into = (i: number) =>
    setView((v) => ({ ...v, root: i < 0 ? undefined : spanRef(trace, flame.row[i]!) }));
  const describe = (i: number) => {
    const r = flame.row[i]!;
    return t.flame.node(
      `${trace.services[trace.service[r]!]?.name ?? ""} ${trace.names[trace.name[r]!] ?? ""}`,
      f.duration(flame.value[i]!),
      f.duration(flame.self[i]!),
      f.integer(flame.spans[i]!),
      flame.errors[i]!,
    );
  };
  const move = (key: string): number => {
    const at = selected < 0 ? Math.max(0, root) : selected;
    if (selected < 0) return at;
    const parent = flame.parent[at]!;
    if (key === "ArrowUp") return parent >= 0 ? parent : at;
    if (key === "ArrowDown") return flame.end[at]! > at + 1 ? at + 1 : at;
    const until = parent < 0 ? flame.count : flame.end[parent]!;
    if (key === "ArrowRight") return flame.end[at]! < until ? flame.end[at]! : at;
    let before = at;
    for (let c = parent + 1; c < at; c = flame.end[c]!) before = c;
    return before;
  };
  const deepest = useMemo(() => {
    if (root < 0) return flame.deepest;
    let d = 0;
    for (let i = root; i < flame.end[root]!; i++) d = Math.max(d, flame.depth[i]! - flame.depth[root]!);
    return d;
  }, [flame, root]);
  return (
    <Sheet
      {...p}
      rows={deepest + 1}
      label={t.flame.gridSummed}
      says={selected >= 0 ? describe(selected) : ""}
      draw={(ctx, top, width, height, tokens) =>
        drawSum(ctx, { trace, flame, root, selected, hits: undefined, hitNodes, top, width, height }, tokens)
      }
      redraw={[flame, root, selected, hitNodes]}
      at={(x, y, width) => nodeAt({ flame, root, width }, x, y)}
      tip={(i) => (
        <>
          <Name trace={trace} row={flame.row[i]!} />
          <dl>
            <dt>{t.flame.withCalled}</dt>
            <dd>
              {f.duration(flame.value[i]!)} · {f.percent(flame.value[i]! / total)}
            </dd>
            <dt>{t.table.self}</dt>
            <dd>{f.duration(flame.self[i]!)}</dd>
            <dt>{t.trace.spans}</dt>
            <dd>{f.integer(flame.spans[i]!)}</dd>
            {flame.errors[i]! > 0 ? (
              <>
                <dt>{t.trace.errors}</dt>
                <dd className={controls["error"]}>{f.integer(flame.errors[i]!)}</dd>
              </>
            ) : null}
          </dl>
        </>
      )}
      onPick={(i) => p.onSelect(flame.row[i]!)}
      onEnter={(i) => into(i === root ? -1 : i)}
      onKey={(key) => {
        if (key === "Enter") {
          if (selected >= 0) into(selected === root ? -1 : selected);
          return selected;
        }
        const next = move(key);
        p.onSelect(flame.row[next]!);
        return next;
      }}
      topOf={(i) => (flame.depth[i]! - (root >= 0 ? flame.depth[root]! : 0)) * flameRow}
      selected={selected}
    />
  );
}

function InTime(p: Props & { lanes: Lanes }) {
  const { t, f } = useI18n();
  const { trace, lanes, view } = p;
  const w = useWindow(p.window);
  const hits = view.find === "" ? undefined : p.hits;
  const move = (key: string): number => {
    if (p.selected < 0) return lanes.order[0] ?? -1;
    const r = p.selected;
    if (key === "ArrowUp") return trace.parent[r]! >= 0 ? trace.parent[r]! : r;
    if (key === "ArrowDown") return trace.end[r]! > r + 1 ? r + 1 : r;
    const lane = lanes.lane[r]!;
    if (lane < 0) return r;
    const from = lanes.offset[lane]!;
    const at = lanes.order.subarray(from, lanes.offset[lane + 1]!).indexOf(r);
    const next = at + (key === "ArrowRight" ? 1 : -1);
    return next < 0 || from + next >= lanes.offset[lane + 1]! ? r : lanes.order[from + next]!;
  };
  const says =
    p.selected >= 0
      ? t.flame.span(
          `${trace.services[trace.service[p.selected]!]?.name ?? ""} ${trace.names[trace.name[p.selected]!] ?? ""}`,
          f.duration(trace.duration[p.selected]!),
          (trace.flags[p.selected]! & flag.error) !== 0,
        )
      : "";
  return (
    <Sheet
      {...p}
      rows={lanes.count}
      label={t.flame.gridTime}
      says={says}
      draw={(ctx, top, width, height, tokens) =>
        drawTime(
          ctx,
          { trace, lanes, window: p.window.get(), selected: p.selected, hits, top, width, height },
          tokens,
        )
      }
      redraw={[lanes, w, p.selected, hits]}
      at={(x, y, width) => rowAt({ trace, lanes, window: p.window.get(), width }, x, y)}
      tip={(r) => (
        <>
          <Name trace={trace} row={r} />
          <dl>
            <dt>{t.trace.duration}</dt>
            <dd>{f.duration(trace.duration[r]!)}</dd>
            <dt>{t.trace.start}</dt>
            <dd>{t.details.after(f.duration(trace.start[r]!))}</dd>
          </dl>
        </>
      )}
      onPick={p.onSelect}
      onEnter={(r) => {
        const length = Math.max(1, trace.duration[r]!);
        p.window.set([trace.start[r]! - length * 0.05, trace.start[r]! + length * 1.05]);
      }}
      onKey={(key) => {
        if (key === "Enter") return p.selected;
        const next = move(key);
        if (next >= 0) p.onSelect(next);
        return next;
      }}
      topOf={(r) => Math.max(0, lanes.lane[r]!) * flameRow}
      selected={p.selected}
      zoomable
    />
  );
}

function Name({ trace, row }: { trace: Trace; row: number }) {
  const s = trace.services[trace.service[row]!];
  return (
    <p className={css["tipName"]}>
      <ServiceTag name={s?.name ?? ""} slot={s?.slot ?? 0} />
      <span>{trace.names[trace.name[row]!]}</span>
    </p>
  );
}

interface SheetProps extends Props {
  rows: number;
  label: string;
  /** What a screen reader is told of the selection. */
  says: string;
  draw: (
    ctx: CanvasRenderingContext2D,
    top: number,
    width: number,
    height: number,
    tokens: ReturnType<typeof readTokens>,
  ) => void;
  redraw: readonly unknown[];
  at: (x: number, y: number, width: number) => number;
  tip: (thing: number) => React.ReactNode;
  onPick: (thing: number) => void;
  onEnter: (thing: number) => void;
  /** Moves the selection and gives what is selected now. */
  onKey: (key: string) => number;
  topOf: (thing: number) => number;
  zoomable?: boolean;
}

/** The canvas that both graphs are drawn on: it stays in sight while its rows scroll, and takes pointer and keys. */
function Sheet(p: SheetProps) {
  const scroll = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const theme = resolvedTheme(usePrefs());
  const latest = useRef(p);
  latest.current = p;
  const [hover, setHover] = useState<{ thing: number; x: number; y: number }>();
  const [painter] = useState(() => {
    let tokens: ReturnType<typeof readTokens> | undefined;
    const draw = () => {
      const el = scroll.current;
      if (!canvas.current || !el) return;
      const width = el.clientWidth;
      const height = el.clientHeight;
      canvas.current.style.width = `${width}px`;
      canvas.current.style.height = `${height}px`;
      const ctx = sizeCanvas(canvas.current, width, height);
      tokens ??= readTokens();
      if (ctx) latest.current.draw(ctx, el.scrollTop, width, height, tokens);
    };
    return { ...onceAFrame(draw), forget: () => (tokens = undefined) };
  });
  useEffect(() => {
    const el = scroll.current;
    if (!el) return;
    const watch = new ResizeObserver(painter.ask);
    watch.observe(el);
    const onScroll = () => {
      setHover(undefined);
      painter.ask();
    };
    el.addEventListener("scroll", onScroll, { passive: true });
    const wheel = (e: WheelEvent) => {
      if (!latest.current.zoomable || !(e.ctrlKey || e.metaKey)) return;
      e.preventDefault();
      const box = el.getBoundingClientRect();
      const { window } = latest.current;
      const factor = Math.exp(Math.max(-60, Math.min(60, e.deltaY)) / 150);
      window.set(zoom(window.get(), factor, (e.clientX - box.left) / el.clientWidth, window.duration));
    };
    el.addEventListener("wheel", wheel, { passive: false });
    return () => {
      painter.stop();
      watch.disconnect();
      el.removeEventListener("scroll", onScroll);
      el.removeEventListener("wheel", wheel);
    };
  }, [painter]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: what is drawn, read when it is due
  useEffect(painter.ask, [painter, ...p.redraw]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the theme changes what the tokens are
  useEffect(() => {
    painter.forget();
    painter.ask();
  }, [painter, theme]);
  const see = useCallback((thing: number) => {
    const el = scroll.current;
    if (!el || thing < 0) return;
    const top = latest.current.topOf(thing);
    if (top < el.scrollTop) el.scrollTop = top;
    else if (top + flameRow > el.scrollTop + el.clientHeight) el.scrollTop = top + flameRow - el.clientHeight;
  }, []);
  useLayoutEffect(() => see(p.selected), [see, p.selected]);
  const thingAt = (e: React.MouseEvent): number => {
    const el = scroll.current;
    if (!el) return -1;
    const box = el.getBoundingClientRect();
    return p.at(e.clientX - box.left, e.clientY - box.top + el.scrollTop, el.clientWidth);
  };
  return (
    <div className={css["sheet"]}>
      <div
        ref={scroll}
        className={css["scroll"]}
        role="application"
        aria-label={p.label}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and the arrow keys walk through the graph
        tabIndex={0}
        onPointerMove={(e) => {
          const thing = thingAt(e);
          const box = e.currentTarget.getBoundingClientRect();
          setHover(thing < 0 ? undefined : { thing, x: e.clientX - box.left, y: e.clientY - box.top });
        }}
        onPointerLeave={() => setHover(undefined)}
        onClick={(e) => {
          const thing = thingAt(e);
          if (thing >= 0) p.onPick(thing);
        }}
        onDoubleClick={(e) => {
          const thing = thingAt(e);
          if (thing >= 0) p.onEnter(thing);
        }}
        onKeyDown={(e) => {
          if (e.nativeEvent.isComposing || e.ctrlKey || e.metaKey || e.altKey) return;
          if (!/^(Arrow(Up|Down|Left|Right)|Enter)$/.test(e.key)) return;
          e.preventDefault();
          see(p.onKey(e.key));
        }}
      >
        <div className={css["canvas"]} aria-hidden="true">
          <canvas ref={canvas} />
        </div>
        <div style={{ height: p.rows * flameRow }} />
      </div>
      {hover ? (
        <div
          className={css["tip"]}
          aria-hidden="true"
          style={{
            top: hover.y + 14,
            ...(hover.x > (scroll.current?.clientWidth ?? 0) / 2
              ? { right: Math.max(0, (scroll.current?.clientWidth ?? 0) - hover.x + 10) }
              : { left: hover.x + 12 }),
          }}
        >
          {p.tip(hover.thing)}
        </div>
      ) : null}
      <span className="sr-only" role="status">
        {p.says}
      </span>
    </div>
  );
}
