import {
  type KeyboardEvent,
  memo,
  useCallback,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "react";
import { type I18n, useI18n } from "../i18n";
import { slotVar } from "../model/colour";
import type { Selection } from "../model/mapUrl";
import { controls } from "../shell/controls";
import { Icon } from "../shell/Icon";
import { useShortcuts } from "../shell/keys";
import { type Arranged, type Curve, curves as curvesOf, neighbour, type Rect, sizeOf } from "./arrange";
import css from "./Canvas.module.css";
import { type Change, type Graph, isBad, type VEdge, type VNode, widthOf } from "./graph";
import { type Label, labelHeight, placeLabels } from "./labels";
import { drawnName, groupTitle, rateText, spokenNode } from "./names";
import { detail, kindIcon, Lock, outline } from "./shapes";
import { fitText, textWidth } from "./textWidth";
import { fitTo, openAt, reveal, type Viewport, zoomAt } from "./viewport";

/** What a node is marked with, and why, in words. */
export interface Mark {
  sign: string;
  text: string;
  tone: "warn" | "plain" | "error";
}

interface Props {
  graph: Graph;
  arranged: Arranged;
  /** Another one of these shows all of the map again. */
  fitKey: string;
  selection: Selection | undefined;
  marks: ReadonlyMap<string, Mark[]>;
  /** More than one namespace is drawn unfolded, so names need theirs. */
  withNamespace: boolean;
  onSelect: (s: Selection | undefined, byKey?: boolean) => void;
  onToggle: (group: string) => void;
  onFocus: (id: string) => void;
  onRearrange: () => void;
}

const changeSign: Record<Change, string> = { new: "✚", gone: "✕", worse: "▲", better: "▼", same: "" };

/** The drawing: own SVG with pan and zoom, whose nodes are one stop of the Tab key and go by arrow keys. */
export function Canvas(p: Props) {
  const i18n = useI18n();
  const { t } = i18n;
  const { graph, arranged, onSelect, onToggle, onFocus } = p;
  const surface = useRef<HTMLDivElement>(null);
  const drawing = useRef<SVGSVGElement>(null);
  const view = useRef<Viewport>({ x: 0, y: 0, scale: 1 });
  const size = useRef({ width: 0, height: 0 });
  const [hot, setHot] = useState<string>();
  const [active, setActive] = useState<string>();
  const [fontsReady, setFontsReady] = useState(0);

  useEffect(() => {
    let on = true;
    document.fonts?.ready.then(() => on && setFontsReady((n) => n + 1));
    return () => {
      on = false;
    };
  }, []);

  // Pan and zoom never go through React: 60 frames a second are one style each. It is the style of the whole drawing: a scale
  // inside of an SVG has the browser lay out each of its texts again, 8 ms a frame at 200 nodes.
  const apply = useCallback((next: Viewport) => {
    view.current = next;
    if (drawing.current)
      drawing.current.style.transform = `translate(${next.x}px, ${next.y}px) scale(${next.scale})`;
    if (surface.current) surface.current.dataset["far"] = String(next.scale < 0.42);
  }, []);
  const untouched = useRef(true);
  const latestSelected = useRef<(() => void) | undefined>(undefined);
  const showAll = useCallback(() => {
    untouched.current = true;
    apply(fitTo(arranged.bounds, size.current.width, size.current.height));
  }, [apply, arranged]);
  const zoom = useCallback(
    (factor: number) => {
      untouched.current = false;
      apply(zoomAt(view.current, factor, size.current.width / 2, size.current.height / 2));
    },
    [apply],
  );
  const latestFit = useRef(() => {});
  latestFit.current = () => {
    untouched.current = true;
    apply(openAt(arranged.bounds, size.current.width, size.current.height));
    latestSelected.current?.();
  };

  useLayoutEffect(() => {
    const el = surface.current;
    if (!el) return;
    const observe = new ResizeObserver(() => {
      const before = size.current;
      size.current = { width: el.clientWidth, height: el.clientHeight };
      if (before.width === 0) latestFit.current();
      // A panel that opens beside the map hides a part of it: nothing moves but what is needed to see what is selected.
      else if (untouched.current && !latestSelected.current) latestFit.current();
      else latestSelected.current?.();
    });
    observe.observe(el);
    return () => observe.disconnect();
  }, []);

  // biome-ignore lint/correctness/useExhaustiveDependencies: fitKey says when
  useLayoutEffect(() => {
    if (surface.current && size.current.width === 0)
      size.current = { width: surface.current.clientWidth, height: surface.current.clientHeight };
    latestFit.current();
  }, [p.fitKey]);

  useEffect(() => {
    const el = surface.current;
    if (!el) return;
    const onWheel = (e: WheelEvent) => {
      e.preventDefault();
      untouched.current = false;
      const r = el.getBoundingClientRect();
      const px = e.deltaMode === 1 ? 16 : 1;
      if (e.shiftKey && !e.ctrlKey) {
        apply({ ...view.current, x: view.current.x - (e.deltaX || e.deltaY) * px });
        return;
      }
      const factor = Math.exp((-e.deltaY * px * (e.ctrlKey ? 3 : 1)) / 500);
      apply(zoomAt(view.current, factor, e.clientX - r.left, e.clientY - r.top));
    };
    el.addEventListener("wheel", onWheel, { passive: false });
    return () => el.removeEventListener("wheel", onWheel);
  }, [apply]);

  const drag = useRef<{ x: number; y: number; moved: boolean; id: number } | undefined>(undefined);

  const ways = useMemo(() => curvesOf(graph, arranged), [graph, arranged]);
  const boxes = useMemo(
    () =>
      graph.nodes.flatMap((n): Rect[] => {
        const at = arranged.at.get(n.id);
        const s = sizeOf(n);
        return at ? [{ x: at.x - s.width / 2, y: at.y - s.height / 2, ...s }] : [];
      }),
    [graph, arranged],
  );
  const selectedEdge = useMemo(() => {
    const s = p.selection;
    if (s?.kind !== "edge") return undefined;
    const holds = (e: VEdge) =>
      e.members.some((m) => m.from === s.from && m.to === s.to && m.class === s.class) ||
      (e.from === s.from && e.to === s.to && e.class === s.class);
    return graph.edges.find(holds)?.id;
  }, [graph, p.selection]);
  const selectedNode = p.selection && p.selection.kind !== "edge" ? p.selection.id : undefined;
  const lit = hot ?? selectedEdge ?? selectedNode;

  // biome-ignore lint/correctness/useExhaustiveDependencies: widths change when the fonts are there
  const labels = useMemo(() => {
    const touched = lit ? graph.edges.filter((e) => e.id === lit || e.from === lit || e.to === lit) : [];
    const chosen = touched.length > 0 ? touched.slice(0, 24) : graph.edges.filter((e) => e.label);
    return placeLabels(
      chosen,
      ways,
      boxes,
      (e) => labelWidth(e, i18n),
      new Set(touched.length > 3 ? [] : touched.map((e) => e.id)),
    );
  }, [graph, ways, boxes, lit, i18n, fontsReady]);

  // One node is the Tab stop: the one that had the focus, else the selected, else the first from the left.
  const stop = useMemo(() => {
    for (const id of [active, selectedNode]) if (id !== undefined && arranged.at.has(id)) return id;
    let best: string | undefined;
    let left = Number.POSITIVE_INFINITY;
    for (const n of graph.nodes) {
      const at = arranged.at.get(n.id);
      if (at && at.x < left) [best, left] = [n.id, at.x];
    }
    return best;
  }, [active, selectedNode, arranged, graph]);

  const element = (id: string | undefined) =>
    id === undefined
      ? undefined
      : [...(surface.current?.querySelectorAll<SVGGElement>("[data-node]") ?? [])].find(
          (e) => e.dataset["node"] === id,
        );
  const show = (id: string) => {
    const at = arranged.at.get(id);
    const n = graph.nodes.find((x) => x.id === id);
    if (!at || !n) return;
    const s = sizeOf(n);
    apply(
      reveal(
        view.current,
        { x: at.x - s.width / 2, y: at.y - s.height / 2, ...s },
        size.current.width,
        size.current.height,
      ),
    );
  };
  const ends =
    p.selection?.kind === "edge"
      ? graph.edges.filter((e) => e.id === selectedEdge).flatMap((e) => [e.from, e.to])
      : selectedNode !== undefined
        ? [selectedNode]
        : [];
  latestSelected.current = ends.length > 0 ? () => ends.forEach(show) : undefined;
  const focused = () => (document.activeElement as SVGElement | null)?.dataset?.["node"];
  const nodeById = useMemo(() => new Map(graph.nodes.map((n) => [n.id, n])), [graph]);
  const choose = useCallback(
    (n: VNode, byKey?: boolean) => onSelect({ kind: n.kind === "group" ? "group" : "node", id: n.id }, byKey),
    [onSelect],
  );

  useShortcuts({
    mapLeft: (_e, key) => {
      const from = focused() ?? stop;
      if (from === undefined) return;
      const to =
        focused() === undefined
          ? from
          : neighbour(arranged, from, key as "ArrowLeft" | "ArrowRight" | "ArrowUp" | "ArrowDown");
      if (to === undefined) return;
      show(to);
      element(to)?.focus({ preventScroll: true });
    },
    mapOpen: () => {
      const n = nodeById.get(focused() ?? "");
      if (n) choose(n, true);
    },
    mapFold: () => {
      const n = nodeById.get(focused() ?? selectedNode ?? "");
      const group = n?.kind === "group" ? n.id : n?.group;
      if (group) onToggle(group);
    },
    mapFocus: () => {
      const n = nodeById.get(focused() ?? selectedNode ?? "");
      if (n && n.kind !== "group") onFocus(n.id);
    },
    mapZoomIn: () => zoom(1.3),
    mapZoomOut: () => zoom(1 / 1.3),
    mapFit: showAll,
  });

  // A node that is selected from elsewhere (a list of the panel, a link) comes into sight.
  const shown = useRef<string>(undefined);
  useEffect(() => {
    if (selectedNode === shown.current) return;
    shown.current = selectedNode;
    if (selectedNode !== undefined && size.current.width > 0) show(selectedNode);
  });

  // A namespace that was opened comes into sight with all that is in it.
  const framed = useRef(arranged.frames);
  useEffect(() => {
    const before = framed.current;
    framed.current = arranged.frames;
    const { width, height } = size.current;
    if (before === arranged.frames || width === 0) return;
    for (const [id, r] of arranged.frames) {
      if (before.has(id)) continue;
      const { scale } = view.current;
      if (r.width * scale > width - 48 || r.height * scale > height - 48) showAll();
      else apply(reveal(view.current, r, width, height));
    }
  }, [arranged, apply, showAll]);

  const hover = useCallback((id: string | undefined) => setHot(id), []);
  return (
    <div className={css["canvas"]}>
      <div
        ref={surface}
        className={css["surface"]}
        data-keys="map"
        data-lit={lit !== undefined}
        role="group"
        aria-label={t.map.label}
        aria-description={t.map.help}
        onPointerDown={(e) => {
          if (e.button !== 0 && e.button !== 1) return;
          drag.current = { x: e.clientX, y: e.clientY, moved: false, id: e.pointerId };
        }}
        onPointerMove={(e) => {
          const d = drag.current;
          if (!d) return;
          const [dx, dy] = [e.clientX - d.x, e.clientY - d.y];
          if (!d.moved) {
            if (Math.abs(dx) + Math.abs(dy) < 4) return;
            d.moved = true;
            untouched.current = false;
            surface.current?.setPointerCapture(d.id);
            if (surface.current) surface.current.dataset["drag"] = "true";
          }
          d.x = e.clientX;
          d.y = e.clientY;
          apply({ ...view.current, x: view.current.x + dx, y: view.current.y + dy });
        }}
        onPointerUp={() => {
          if (surface.current) delete surface.current.dataset["drag"];
          // The click that ends a drag is none.
          const d = drag.current;
          if (d && !d.moved) drag.current = undefined;
          else
            setTimeout(() => {
              if (drag.current === d) drag.current = undefined;
            });
        }}
        onPointerCancel={() => {
          drag.current = undefined;
        }}
        onClickCapture={(e) => {
          if (drag.current?.moved) {
            e.stopPropagation();
            drag.current = undefined;
          }
        }}
        onClick={(e) => {
          if (e.target === surface.current || e.target === drawing.current) onSelect(undefined);
        }}
        onKeyDown={(e: KeyboardEvent) => {
          const n = nodeById.get(focused() ?? "");
          if (e.key === " " && n) {
            e.preventDefault();
            choose(n, true);
          }
        }}
      >
        <svg ref={drawing} className={css["drawing"]} role="presentation">
          <defs>
            <pattern
              id="map-bars"
              width="8"
              height="8"
              patternUnits="userSpaceOnUse"
              patternTransform="rotate(45)"
            >
              <rect width="3" height="8" fill="var(--line)" />
            </pattern>
          </defs>
          <g>
            {[...arranged.frames].map(([id, r]) => (
              <FrameView
                key={id}
                id={id}
                rect={r}
                title={groupTitle({ id }, i18n)}
                onToggle={onToggle}
                i18n={i18n}
              />
            ))}
            {arranged.tray !== undefined ? (
              // biome-ignore lint/a11y/noAriaHiddenOnFocusable: a group of SVG has no focus
              <g className={css["tray"]} aria-hidden="true">
                <path d={`M${arranged.bounds.x} ${arranged.tray}h${arranged.bounds.width}`} />
                <text x={arranged.bounds.x} y={arranged.tray + 18}>
                  {t.map.tray}
                </text>
              </g>
            ) : null}
            {/* biome-ignore lint/a11y/noAriaHiddenOnFocusable: a group of SVG has no focus */}
            <g aria-hidden="true">
              {graph.edges.map((e) => {
                const way = ways.get(e.id);
                return way ? (
                  <EdgeView
                    key={e.id}
                    edge={e}
                    way={way}
                    lit={lit !== undefined && (e.id === lit || e.from === lit || e.to === lit)}
                    selected={e.id === selectedEdge}
                    onSelect={onSelect}
                    onHover={hover}
                  />
                ) : null;
              })}
            </g>
            {graph.nodes.map((n) => {
              const at = arranged.at.get(n.id);
              return at ? (
                <NodeView
                  key={n.id}
                  node={n}
                  x={at.x}
                  y={at.y}
                  stop={n.id === stop}
                  selected={n.id === selectedNode}
                  marks={p.marks.get(n.id)}
                  withNamespace={p.withNamespace && !(n.group !== undefined && arranged.frames.has(n.group))}
                  i18n={i18n}
                  fontsReady={fontsReady}
                  onChoose={choose}
                  onToggle={onToggle}
                  onHover={hover}
                  onActive={setActive}
                />
              ) : null;
            })}
            {/* biome-ignore lint/a11y/noAriaHiddenOnFocusable: a group of SVG has no focus */}
            <g aria-hidden="true" className={css["labels"]}>
              {[...labels.values()].map((l) => (
                <LabelView
                  key={l.edge}
                  label={l}
                  edge={graph.edges.find((e) => e.id === l.edge)!}
                  i18n={i18n}
                />
              ))}
            </g>
          </g>
        </svg>
      </div>
      <div className={css["zoom"]}>
        <button
          type="button"
          className={controls["icon"]}
          onClick={() => zoom(1.3)}
          aria-label={t.map.zoomIn}
          title={`${t.map.zoomIn} (+)`}
        >
          <Icon name="plus" />
        </button>
        <button
          type="button"
          className={controls["icon"]}
          onClick={() => zoom(1 / 1.3)}
          aria-label={t.map.zoomOut}
          title={`${t.map.zoomOut} (-)`}
        >
          <Icon name="minus" />
        </button>
        <button
          type="button"
          className={controls["icon"]}
          onClick={showAll}
          aria-label={t.map.fit}
          title={`${t.map.fit} (0)`}
        >
          <Icon name="fit" />
        </button>
        <button
          type="button"
          className={controls["icon"]}
          onClick={p.onRearrange}
          aria-label={t.map.rearrange}
          title={t.map.rearrange}
        >
          <Icon name="refresh" />
        </button>
      </div>
    </div>
  );
}

function FrameView(p: { id: string; rect: Rect; title: string; i18n: I18n; onToggle: (id: string) => void }) {
  const { x, y, width, height } = p.rect;
  const title = fitText(p.title, width - 60, 13, 600);
  return (
    <g className={css["frame"]}>
      <rect x={x} y={y} width={width} height={height} rx={8} />
      <g
        role="button"
        aria-label={p.i18n.t.map.foldGroup(p.title)}
        className={css["fold"]}
        onClick={() => p.onToggle(p.id)}
      >
        <rect
          x={x + 4}
          y={y + 4}
          width={Math.min(width - 8, textWidth(title, 13, 600) + 34)}
          height={24}
          rx={4}
        />
        <path d={`M${x + 12} ${y + 13}l4 5 4-5`} />
        <text x={x + 26} y={y + 20}>
          {title}
        </text>
      </g>
    </g>
  );
}

const EdgeView = memo(function EdgeView(p: {
  edge: VEdge;
  way: Curve;
  lit: boolean;
  selected: boolean;
  onSelect: Props["onSelect"];
  onHover: (id: string | undefined) => void;
}) {
  const { edge: e, way } = p;
  const width = widthOf(e.figures.rate);
  const head = 4 + width * 0.9;
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the panel of a node lists its edges for the keyboard, and the table has all
    <g
      className={css["edge"]}
      data-edge={e.id}
      data-bad={isBad(e.figures)}
      data-async={e.class !== "call"}
      data-dim={e.dim}
      data-lit={p.lit}
      data-selected={p.selected}
      data-change={e.change}
      onClick={() => {
        const first = e.members[0]!;
        p.onSelect(
          e.members.length === 1
            ? { kind: "edge", from: first.from, to: first.to, class: e.class }
            : { kind: "edge", from: e.from, to: e.to, class: e.class },
        );
      }}
      onPointerEnter={() => p.onHover(e.id)}
      onPointerLeave={() => p.onHover(undefined)}
    >
      <path className={css["hit"]} d={way.path} />
      <path className={css["line"]} d={way.path} strokeWidth={width} />
      <path
        className={css["head"]}
        d={`M0 0L-8 ${-head}L-8 ${head}Z`}
        transform={`translate(${way.tip.x} ${way.tip.y}) rotate(${way.angle})`}
      />
    </g>
  );
});

const NodeView = memo(function NodeView(p: {
  node: VNode;
  x: number;
  y: number;
  stop: boolean;
  selected: boolean;
  marks: Mark[] | undefined;
  withNamespace: boolean;
  i18n: I18n;
  fontsReady: number;
  onChoose: (n: VNode) => void;
  onToggle: (group: string) => void;
  onHover: (id: string | undefined) => void;
  onActive: (id: string) => void;
}) {
  const { node: n, i18n } = p;
  const { t, f } = i18n;
  const { width: w, height: h } = sizeOf(n);
  const { path, inset } = outline(n.kind, w, h);
  const extra = detail(n.kind, w, h);
  const bad = isBad(n.figures);
  const left = -w / 2 + 30 + inset;
  const room = w - 36 - 2 * inset - (bad ? 6 : 0);
  const name = drawnName(n, i18n);
  const title = fitText(name, room, 13, 600);
  const spare = room - textWidth(title, 13, 600) - 6;
  const namespace =
    p.withNamespace && n.kind !== "group" && n.namespace && title === name && spare > 28
      ? fitText(n.namespace, spare, 12)
      : "";
  const line =
    n.kind === "group"
      ? t.map.nodesInside(f.integer(n.members.length), rateText(n.figures, i18n))
      : n.figures.n === 0
        ? n.kind === "client"
          ? t.map.ownSpansNone
          : t.map.noCalls
        : bad // the mark beside it says of what
          ? t.map.edgeLabelFine(rateText(n.figures, i18n), f.percent(n.figures.errorRate))
          : t.map.figures(rateText(n.figures, i18n), f.percent(n.figures.errorRate));
  const words = (p.marks ?? []).map((m) => m.text);
  const spoken = [
    spokenNode(n, i18n),
    ...words,
    ...(n.change && n.change !== "same" ? [t.map.change[n.change]] : []),
  ].join(", ");
  return (
    <g
      className={css["node"]}
      transform={`translate(${p.x} ${p.y})`}
      data-kind={n.kind}
      data-bad={bad}
      data-dim={n.dim}
      data-selected={p.selected}
      data-change={n.change}
      onPointerEnter={() => p.onHover(n.id)}
      onPointerLeave={() => p.onHover(undefined)}
    >
      {/* What is written on it is beside the button: the button's name says more, in other words. */}
      <g
        className={css["button"]}
        data-node={n.id}
        data-kind={n.kind}
        role="button"
        tabIndex={p.stop ? 0 : -1}
        aria-label={spoken}
        aria-pressed={p.selected}
        onClick={() => p.onChoose(n)}
        onDoubleClick={() => n.kind === "group" && p.onToggle(n.id)}
        onFocus={() => p.onActive(n.id)}
      >
        <title>
          {[name, n.kind === "group" ? "" : n.namespace, ...words].filter(Boolean).join("\n").slice(0, 600)}
        </title>
        {n.kind === "group" ? <path className={css["stack"]} d={path} transform="translate(5 5)" /> : null}
        <path className={css["halo"]} d={path} />
        <path className={css["shape"]} d={path} />
        {n.kind === "blackhole" ? <path d={path} fill="url(#map-bars)" /> : null}
        {extra ? <path className={css["detail"]} d={extra} /> : null}
        {n.kind === "service" && n.slot !== undefined ? <Ring node={n} path={path} /> : null}
      </g>
      {/* biome-ignore lint/a11y/noAriaHiddenOnFocusable: a group of SVG has no focus */}
      <g aria-hidden="true" className={css["written"]}>
        <path
          className={css["icon"]}
          d={kindIcon[n.kind]}
          transform={`translate(${-w / 2 + 9 + inset} -8)`}
        />
        <text className={css["name"]} x={left} y={n.kind === "group" ? -5 : n.kind === "database" ? 0 : -4}>
          {title}
          {namespace ? (
            <tspan className={css["namespace"]} dx="6">
              {namespace}
            </tspan>
          ) : null}
        </text>
        <text className={css["figures"]} x={left} y={n.kind === "database" ? 16 : 14}>
          {fitText(line, bad ? room - 12 : room, 12)}
        </text>
        {bad ? (
          <g transform={`translate(${w / 2 - 18 - inset} 3)`}>
            <path className={css["badMark"]} d="M3.7.5h4.6l3.2 3.2v4.6l-3.2 3.2H3.7L.5 8.3V3.7z" />
            <path className={css["badSign"]} d="M6 3v3.6M6 8.6v.4" />
          </g>
        ) : null}
        {n.change && n.change !== "same" ? (
          <text className={css["change"]} x={-w / 2 + 4} y={-h / 2 - 4} data-change={n.change}>
            {changeSign[n.change]} {t.map.change[n.change]}
          </text>
        ) : null}
        {(p.marks ?? []).slice(0, 3).map((m, i) => (
          <g
            key={m.text}
            className={css["mark"]}
            data-tone={m.tone}
            transform={`translate(${w / 2 - 10 - i * 19} ${-h / 2})`}
          >
            <circle r="8.5" />
            <text y="4">{m.sign}</text>
          </g>
        ))}
      </g>
    </g>
  );
});

/** The border of a service: a segment for each version, as long as its share of the calls. */
function Ring({ node, path }: { node: VNode; path: string }) {
  const colour = slotVar(node.slot!);
  const { versions } = node.members[0]!;
  const total = versions.reduce((s, v) => s + v.red.weight, 0);
  if (versions.length < 2 || total <= 0) return <path className={css["ring"]} d={path} stroke={colour} />;
  let at = 0;
  return versions.slice(0, 8).map((v, i) => {
    const share = (v.red.weight / total) * 100;
    const from = at;
    at += share;
    return (
      <path
        key={v.version}
        className={css["ring"]}
        d={path}
        pathLength="100"
        stroke={i === 0 ? colour : `color-mix(in srgb, ${colour} ${Math.max(35, 100 - i * 32)}%, var(--bg))`}
        strokeDasharray={`${Math.max(0, share - 1)} ${100 - Math.max(0, share - 1)}`}
        strokeDashoffset={-from}
      />
    );
  });
}

function labelText(e: VEdge, i18n: I18n): string {
  const { t, f } = i18n;
  const { figures } = e;
  if (figures.n === 0) return t.map.noCalls;
  const rate = rateText(figures, i18n);
  const text =
    figures.errors > 0
      ? t.map.edgeLabel(rate, f.percent(figures.errorRate), f.duration(figures.p95))
      : t.map.edgeLabelFine(rate, f.duration(figures.p95));
  return e.change && e.change !== "same" ? `${changeSign[e.change]} ${text}` : text;
}

function labelWidth(e: VEdge, i18n: I18n): number {
  return textWidth(labelText(e, i18n), 12, 500) + 12 + marksWidth(e);
}

const markWidth = 16;

function marksWidth(e: VEdge): number {
  return (isBad(e.figures) ? markWidth : 0) + (hasLock(e) ? markWidth : 0);
}

/** A lock is for what is known. */
function hasLock(e: VEdge): boolean {
  return e.mtls === "on" || e.mtls === "off";
}

function LabelView({ label, edge, i18n }: { label: Label; edge: VEdge; i18n: I18n }) {
  const bad = isBad(edge.figures);
  const left = -label.width / 2 + 5;
  return (
    <g className={css["label"]} data-bad={bad} transform={`translate(${label.x} ${label.y})`}>
      <rect x={-label.width / 2} y={-labelHeight / 2} width={label.width} height={labelHeight} rx={9} />
      {bad ? (
        <g transform={`translate(${left} -6)`}>
          <path className={css["badMark"]} d="M3.7.5h4.6l3.2 3.2v4.6l-3.2 3.2H3.7L.5 8.3V3.7z" />
          <path className={css["badSign"]} d="M6 3v3.6M6 8.6v.4" />
        </g>
      ) : null}
      {hasLock(edge) ? (
        <g transform={`translate(${left + (bad ? markWidth : 0)} -6)`}>
          <Lock open={edge.mtls === "off"} />
        </g>
      ) : null}
      <text x={marksWidth(edge) / 2} y={4}>
        {labelText(edge, i18n)}
      </text>
    </g>
  );
}
