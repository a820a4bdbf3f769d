import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { Link, useLocation } from "wouter";
import { type Finding, findingsByWorkload, useDoctor, workloadName } from "../doctor/api";
import { type I18n, useI18n } from "../i18n";
import { formatMap, type MapView, parseMap, type Selection } from "../model/mapUrl";
import { wider } from "../model/time";
import { controls } from "../shell/controls";
import { Icon } from "../shell/Icon";
import { useShortcuts } from "../shell/keys";
import { useNow } from "../shell/now";
import { RangePicker, rangeText } from "../shell/RangePicker";
import { Empty, ErrorNotice, Loading, PanelBoundary, PartialNotice, WarnLine } from "../shell/states";
import { useTitle } from "../shell/title";
import { useUrlState } from "../shell/url";
import type { MapAnswer } from "./api";
import { Canvas, type Mark } from "./Canvas";
import { buildGraph, type Graph } from "./graph";
import css from "./MapPage.module.css";
import { MapTable } from "./MapTable";
import { Panel } from "./Panel";
import { splitProxies } from "./proxies";
import { Toolbar } from "./Toolbar";
import { toggled } from "./toggle";
import { useLayout } from "./useLayout";
import { useEarlier, useMap } from "./useMap";

const codec = { parse: parseMap, format: formatMap };

/** Who calls whom, and which call hurts? */
export default function MapPage() {
  const i18n = useI18n();
  const { t, f } = i18n;
  const [view, setView] = useUrlState(codec);
  const [, navigate] = useLocation();
  useTitle(t.map.title);
  const answer = useMap(view.range, view.telemetry);
  const earlier = useEarlier(view.range, view.compare, view.telemetry);
  const doctor = useDoctor(view.range, t.code);

  // Figures change with each answer; the view's other parts (the selection) do not make another graph.
  const { focus, hops, find, hide, fold, open, closed, compare, proxies } = view;
  const shape = JSON.stringify([focus, hops, find, hide, fold, open, closed]);
  // Of spans that were not read nobody knows what has changed.
  const cut = answer.data?.complete === false || earlier.data?.complete === false;
  const [now, before] = useMemo(() => {
    const shown = (a: MapAnswer | undefined) => (a && proxies ? splitProxies(a) : a);
    return [shown(answer.data), shown(compare && !cut ? earlier.data : undefined)];
  }, [answer.data, earlier.data, compare, cut, proxies]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: `shape` is all of them
  const graph = useMemo(
    () => (now ? buildGraph(now, before, { focus, hops, find, hide, fold, open, closed }) : undefined),
    [now, before, shape],
  );
  const scope = JSON.stringify([focus, hops, hide, graph?.folding, view.telemetry, proxies]);
  const { layout, pending, error: layoutError, rearrange } = useLayout(view.table ? undefined : graph, scope);

  const findings = useMemo(() => findingsByWorkload(doctor.data), [doctor.data]);
  const marks = useMemo(() => marksOf(layout?.graph, findings, i18n.t), [layout, findings, i18n]);

  const panel = useRef<HTMLDivElement>(null);
  const [byKey, setByKey] = useState(false);
  const select = useCallback(
    (selection: Selection | undefined, key = false) => {
      setByKey(key);
      setView((v) => ({ ...v, selection }));
    },
    [setView],
  );
  useEffect(() => {
    if (byKey && view.selection) panel.current?.querySelector<HTMLElement>("aside")?.focus();
  }, [byKey, view.selection]);
  const toggle = useCallback(
    (group: string) => setView((v) => toggled(v, group, graph), "push"),
    [setView, graph],
  );
  const onFocus = useCallback(
    (id: string) =>
      setView(
        (v) => ({ ...v, focus: id, hops: v.focus === id ? v.hops : 1, selection: { kind: "node", id } }),
        "push",
      ),
    [setView],
  );
  const onRange = useCallback(
    (from: number, to: number) =>
      setView(
        (v) => ({ ...v, range: { kind: "between", from: Math.floor(from), to: Math.ceil(to) } }),
        "push",
      ),
    [setView],
  );

  useShortcuts({
    mapTable: () => setView((v) => ({ ...v, table: !v.table })),
    ...(view.selection
      ? {
          close: () => {
            const id = view.selection?.kind === "edge" ? undefined : view.selection?.id;
            select(undefined);
            // Back to where the person was.
            const node = [...document.querySelectorAll<SVGElement>("[data-node]")].find((e) =>
              id === undefined ? e.getAttribute("tabindex") === "0" : e.dataset["node"] === id,
            );
            node?.focus({ preventScroll: true });
          },
        }
      : {}),
  });

  const namespaces = useMemo(
    () => [...new Set((answer.data?.nodes ?? []).map((n) => n.namespace).filter(Boolean))].sort(),
    [answer.data],
  );
  const spaces = new Set(
    layout?.graph.nodes.filter((n) => n.kind !== "group" && n.namespace).map((n) => n.namespace),
  );
  const empty = graph && graph.nodes.length === 0;
  const found =
    !graph || view.find.length === 0 || graph.nodes.some((n) => !n.dim) || graph.edges.some((e) => !e.dim);
  const problems = answer.data?.missing.length ?? 0;
  return (
    <main
      id="main"
      tabIndex={-1}
      className={css["page"]}
      onKeyDown={(e) => {
        // Whoever arrives by keyboard goes on to the map by an arrow key.
        if (e.target !== e.currentTarget || !e.key.startsWith("Arrow")) return;
        const stop = e.currentTarget.querySelector<SVGElement>('[data-node][tabindex="0"]');
        if (!stop) return;
        e.preventDefault();
        stop.focus({ preventScroll: true });
      }}
    >
      <div className={css["head"]}>
        <h1>{t.map.title}</h1>
        <p className={controls["muted"]}>{t.map.question}</p>
        <span className={css["counts"]} role="status">
          {graph ? t.map.nodesCalls(f.integer(graph.members.length), f.integer(graph.calls.length)) : ""}
        </span>
        <RangePicker range={view.range} onChange={(range) => setView((v) => ({ ...v, range }), "push")} />
        <button
          type="button"
          className={controls["button"]}
          onClick={() => answer.refetch()}
          title={t.app.refresh}
          aria-label={t.app.refresh}
        >
          <Icon name="refresh" />
        </button>
      </div>
      <Toolbar view={view} setView={setView} graph={graph} namespaces={namespaces} />
      {answer.error ? (
        <ErrorNotice
          error={answer.error}
          onRetry={() => answer.refetch()}
          {...(answer.data ? { title: t.state.stale } : {})}
        />
      ) : null}
      {compare && earlier.error ? (
        <ErrorNotice error={earlier.error} onRetry={() => earlier.refetch()} title={t.map.earlierFailed} />
      ) : null}
      {compare && cut && !earlier.error ? <WarnLine>{t.map.notCompared}</WarnLine> : null}
      {layoutError ? <ErrorNotice error={layoutError} onRetry={rearrange} /> : null}
      <PartialNotice
        complete={answer.data?.complete}
        reason={answer.data?.reason}
        away={answer.data?.away}
        read={answer.data?.read}
      />
      {answer.data && !empty ? <Remarks notes={answer.data.notes} problems={problems} /> : null}
      {!found ? <p className={css["remark"]}>{t.map.nothingFound}</p> : null}
      <div className={css["body"]}>
        {empty ? (
          <Nothing
            view={view}
            setView={setView}
            any={(answer.data?.nodes.length ?? 0) > 0}
            notes={answer.data?.notes ?? []}
          />
        ) : view.table && graph ? (
          <MapTable
            graph={graph}
            earlier={before}
            view={view}
            onSort={(sort, descending) => setView((v) => ({ ...v, sort, descending }))}
          />
        ) : layout ? (
          <PanelBoundary>
            <Canvas
              graph={layout.graph}
              arranged={layout.arranged}
              fitKey={layout.fitKey}
              selection={view.selection}
              marks={marks}
              withNamespace={spaces.size > 1}
              onSelect={select}
              onToggle={toggle}
              onFocus={onFocus}
              onRearrange={rearrange}
            />
            {pending ? (
              <p className={css["arranging"]} role="status">
                {t.map.arranging}
              </p>
            ) : null}
          </PanelBoundary>
        ) : answer.isPending || pending ? (
          <div className={css["wait"]}>
            <Loading rows={8} />
          </div>
        ) : null}
        {view.selection && graph && !empty ? (
          <div ref={panel} className={css["side"]}>
            <PanelBoundary key={JSON.stringify(view.selection)}>
              <Panel
                selection={view.selection}
                graph={graph}
                missing={answer.data?.missing ?? []}
                findings={findings}
                range={view.range}
                onSelect={select}
                onToggle={toggle}
                onFocus={onFocus}
                onRange={onRange}
                onTrace={(id) => navigate(`/trace/${id}`)}
              />
            </PanelBoundary>
          </div>
        ) : null}
      </div>
    </main>
  );
}

/** The marks of nodes: findings of the doctor, and what the map itself sees. */
function marksOf(
  graph: Graph | undefined,
  findings: ReadonlyMap<string, Finding[]>,
  t: I18n["t"],
): Map<string, Mark[]> {
  const out = new Map<string, Mark[]>();
  for (const n of graph?.nodes ?? []) {
    const marks: Mark[] = [];
    const found = n.members.flatMap((m) => findings.get(workloadName(m.namespace, m.service)) ?? []);
    if (found.length > 0) {
      const worst = found.some((x) => x.severity === "error") ? "error" : "warn";
      marks.push({
        sign: "!",
        tone: worst,
        text: t.map.badge.finding(new Set(found.map((x) => x.code)).size),
      });
      if (found.some((x) => x.cause === "sampling-zero"))
        marks.push({ sign: "0", tone: "warn", text: t.map.badge.unsampled });
    }
    const badges = new Set(n.members.flatMap((m) => m.badges));
    if (badges.has("silent") && n.kind !== "group")
      marks.push({ sign: "z", tone: "warn", text: t.map.badge.silent });
    if (badges.has("no_spans")) marks.push({ sign: "?", tone: "warn", text: t.map.badge.no_spans });
    if (badges.has("no_sidecar")) marks.push({ sign: "s", tone: "plain", text: t.map.badge.no_sidecar });
    if (marks.length > 0) out.set(n.id, marks);
  }
  return out;
}

function Remarks(p: { notes: { kind: string; message: string }[]; problems: number }) {
  const { t } = useI18n();
  if (p.notes.length === 0 && p.problems === 0) return null;
  return (
    <ul className={css["remarks"]}>
      {p.notes.map((n) => (
        <li key={n.kind}>
          <Icon name="warning" size={14} />
          {t.map.note[n.kind] ?? n.message}
        </li>
      ))}
      {p.problems > 0 ? (
        <li>
          <Icon name="warning" size={14} />
          <Link href="/doctor">{t.map.problems(p.problems)}</Link>
        </li>
      ) : null}
    </ul>
  );
}

/** Why nothing is drawn: hidden by conditions, a focus that is gone, or nothing in this window. */
function Nothing(p: {
  view: MapView;
  setView: (change: (view: MapView) => MapView, step?: "push" | "replace") => void;
  any: boolean;
  notes: { kind: string; message: string }[];
}) {
  const i18n = useI18n();
  const { t } = i18n;
  const now = useNow();
  if (p.view.focus && p.any)
    return (
      <Empty title={t.map.focusGone}>
        <button
          type="button"
          className={controls["button"]}
          onClick={() => p.setView((v) => ({ ...v, focus: "", hops: 1 }), "push")}
        >
          {t.map.leaveFocus}
        </button>
      </Empty>
    );
  if (p.any)
    return (
      <Empty title={t.map.emptyHidden}>
        <button
          type="button"
          className={controls["button"]}
          onClick={() => p.setView((v) => ({ ...v, hide: [] }), "push")}
        >
          {t.map.emptyShowAll}
        </button>
      </Empty>
    );
  const next = wider(p.view.range, now);
  return (
    <Empty title={t.map.emptyTitle}>
      {p.notes.map((n) => (
        <p key={n.kind}>{t.map.note[n.kind] ?? n.message}</p>
      ))}
      {next ? (
        <button
          type="button"
          className={controls["button"]}
          onClick={() => p.setView((v) => ({ ...v, range: next }), "push")}
        >
          {t.map.emptyWiden(rangeText(next, i18n))}
        </button>
      ) : null}
      <p>
        <Link href="/doctor">{t.map.emptyDoctor}</Link> · <Link href="/">{t.map.emptyOverview}</Link>
      </p>
    </Empty>
  );
}
