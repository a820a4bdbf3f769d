import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useI18n } from "../i18n";
import { correctClocks, shiftedClocks } from "../model/clocks";
import type { Path, Piece } from "../model/criticalPath";
import { errorRows, findRows, step, withSpans } from "../model/find";
import { computeRows, foldHops, openTo, type RowRules } from "../model/rows";
import { mayGrow, rowOfRef, rowsOfRefs, spanRef, type Trace } from "../model/trace";
import {
  emptyTraceView,
  formatTrace,
  parseTrace,
  type TraceView,
  traceViews,
  type ViewName,
} from "../model/traceUrl";
import { fitTo, pan, zoom } from "../model/window";
import { controls } from "../shell/controls";
import { useShortcuts } from "../shell/keys";
import { later } from "../shell/later";
import { Empty, ErrorNotice, Loading, PanelBoundary, PartialNotice, WarnLine } from "../shell/states";
import { useUrlState } from "../shell/url";
import { Details } from "./Details";
import { Minimap } from "./Minimap";
import { server, useFound, useHops, useSource } from "./source";
import { Toolbar } from "./Toolbar";
import { TraceHeader } from "./TraceHeader";
import css from "./TracePage.module.css";
import { useComputed } from "./useComputed";
import { Waterfall } from "./Waterfall";
import { WindowStore } from "./windowStore";

const loading = () => <Loading />;
const FlameView = later(() => import("./FlameView"), loading);
const TableView = later(() => import("./TableView"), loading);
const HopsView = later(() => import("./HopsView"), loading);
const JsonView = later(() => import("./JsonView"), loading);

const codec = { parse: parseTrace, format: formatTrace };

/** A trace with more rows opens as its summary, and its waterfall folded. */
const hugeRows = 200_000;
/** Levels that are open at first in the waterfall of a huge trace, and the level that opens all of them. */
const hugeLevel = 2;
const everyLevel = 9999;

interface ScreenProps {
  trace: Trace;
  onReload: () => void;
  staleError: Error | undefined;
}

/** Everything of a trace that is loaded. What is seen is in the URL; only the focus is not. */
export function TraceScreen(p: ScreenProps) {
  const { t } = useI18n();
  const [view, setView] = useUrlState(codec);
  const hops = useHops(p.trace.traceId, view.corrected, mayGrow(p.trace));
  const clocks = hops.data?.clocks;
  const clockOf = hops.data?.clockOf;
  const trace = useMemo(
    () => (view.corrected && clocks && clockOf ? correctClocks(p.trace, clocks, clockOf) : p.trace),
    [view.corrected, p.trace, clocks, clockOf],
  );
  const shifted = clocks ? shiftedClocks(clocks) : undefined;
  return (
    <Screen
      {...p}
      trace={trace}
      raw={p.trace}
      view={view}
      setView={setView}
      clocks={
        !view.corrected ? null : hops.error ? (
          <ErrorNotice error={hops.error} onRetry={() => hops.refetch()} />
        ) : shifted?.length === 0 || hops.data === null ? (
          <WarnLine>{t.clock.none}</WarnLine>
        ) : shifted ? (
          <WarnLine
            action={
              <button
                type="button"
                className={controls["button"]}
                onClick={() => setView((v) => ({ ...v, corrected: false }))}
              >
                {t.clock.raw}
              </button>
            }
          >
            {t.clock.shown(shifted.length)}
          </WarnLine>
        ) : null
      }
    />
  );
}

function Screen(
  p: ScreenProps & {
    /** With the times as they were sent. */
    raw: Trace;
    view: TraceView;
    setView: (change: (view: TraceView) => TraceView) => void;
    clocks: React.ReactNode;
  },
) {
  const { trace, view, setView } = p;
  const { t, f } = useI18n();
  const source = useSource();
  const huge = trace.n > hugeRows;
  const shownView: ViewName = view.view ?? usualView(huge);
  const waterfall = shownView === "waterfall";
  const rules = useRules(trace, view, huge ? hugeLevel : undefined);
  // Folding hops looks at every span; folding rows does not change it.
  const hops = useMemo(
    () => foldHops(trace, rules.hops, rules.hopExcept),
    [trace, rules.hops, rules.hopExcept],
  );
  const rows = useMemo(() => computeRows(trace, rules, hops), [trace, rules, hops]);
  const window = useWindowInUrl(trace, view, setView);
  const selected = useMemo(() => rowOfRef(trace, view.span), [trace, view.span]);
  const named = useMemo(() => findRows(trace, view.find), [trace, view.find]);
  const found = useFound(trace.traceId, view.find);
  const carrying = view.find.trim() === "" ? undefined : found.data?.spanIds;
  const hits = useMemo(() => withSpans(trace, named, carrying ?? []), [trace, named, carrying]);
  const hitSet = useMemo(() => new Set(hits), [hits]);
  const path = useComputed(trace, "path", view.critical);
  const critical = useMemo(() => path && piecesByShownRow(path, rows.hops.shownAs), [path, rows]);

  const [focusRow, setFocusRow] = useState(() => (selected >= 0 ? selected : (rows.row[0] ?? 0)));
  const [focusAsked, setFocusAsked] = useState(0);
  const panel = useRef<HTMLElement>(null);
  const finder = useRef<HTMLInputElement>(null);
  const open = view.span !== undefined;

  // A link to a span opens what is above it, once; later the reader folds as he likes.
  const revealed = useRef(view.span === undefined);
  useEffect(() => {
    if (revealed.current || selected < 0) return;
    revealed.current = true;
    if (rows.position[selected]! < 0) {
      const except = openTo(trace, rules, selected);
      setView((v) => ({ ...v, except: [...except].map((r) => spanRef(trace, r)) }));
    }
    setFocusRow(rows.hops.shownAs[selected]!);
    setFocusAsked((n) => n + 1);
  }, [selected, rows, rules, trace, setView]);

  const select = useCallback(
    (row: number) => {
      setFocusRow(row);
      setView((v) => ({ ...v, span: spanRef(trace, row) }));
    },
    [trace, setView],
  );
  /** Moves the focus; an open panel follows, and so does what other views mark as selected. */
  const goTo = (row: number) => {
    if (row < 0) return;
    setFocusRow(row);
    setFocusAsked((n) => n + 1);
    if (open || !waterfall) setView((v) => ({ ...v, span: spanRef(trace, row) }));
  };
  /** Goes to any row of the trace, opening what hides it. */
  const reveal = (row: number) => {
    if (row < 0) return;
    if (rows.position[row]! < 0) {
      const except = openTo(trace, rules, row);
      setView((v) => ({ ...v, except: [...except].map((r) => spanRef(trace, r)) }));
    }
    goTo(rows.hops.shownAs[row]!);
  };
  const toggle = useCallback(
    (row: number) => {
      const ref = spanRef(trace, row);
      setView((v) => ({ ...v, except: flip(v.except, ref) }));
    },
    [trace, setView],
  );
  const toggleHop = useCallback(
    (row: number) => {
      const ref = spanRef(trace, rows.hops.top[row]!);
      // "No proxies" has no exceptions; whoever opens a hop there wants hops back.
      setView((v) => ({
        ...v,
        hops: v.hops === "none" ? "folded" : v.hops,
        hopExcept: flip(v.hopExcept, ref),
      }));
    },
    [trace, rows, setView],
  );
  const foldTo = (level: number | undefined) => {
    setView((v) => ({ ...v, level: level ?? (huge ? everyLevel : undefined), except: [] }));
    // A focus that would be folded away moves to what is still in sight above it.
    let position = rows.position[focusRow] ?? -1;
    while (level !== undefined && position >= 0 && rows.level[position]! >= level)
      position = rows.parent[position]!;
    if (position >= 0) setFocusRow(rows.row[position]!);
    setFocusAsked((n) => n + 1);
  };
  const close = useCallback(() => {
    setView((v) => ({ ...v, span: undefined }));
    setFocusAsked((n) => n + 1);
  }, [setView]);

  const at = rows.position[focusRow] ?? -1;
  const move = (position: number) => goTo(rows.row[Math.min(rows.count - 1, Math.max(0, position))] ?? -1);
  const right = () => {
    if (at < 0 || rows.children[at] === 0) return;
    if (rows.open[at]) move(at + 1);
    else toggle(focusRow);
  };
  const left = () => {
    if (at < 0) return;
    if (rows.children[at]! > 0 && rows.open[at]) toggle(focusRow);
    else if (rows.parent[at]! >= 0) move(rows.parent[at]!);
  };
  const errors = useMemo(() => errorRows(trace), [trace]);
  const { duration } = window;

  const show = (next: ViewName) =>
    setView((v) => ({ ...v, view: next === usualView(huge) ? undefined : next }));
  useShortcuts({
    ...(waterfall
      ? {
          down: () => (inGrid() ? move(at + 1) : move(Math.max(0, at))),
          up: () => (inGrid() ? move(at - 1) : move(Math.max(0, at))),
          right,
          left,
          home: () => move(0),
          end: () => move(rows.count - 1),
          foldAll: () => foldTo(1),
          unfoldAll: () => foldTo(undefined),
          level: (_: KeyboardEvent, key: string) => foldTo(Number(key)),
          hop: () => at >= 0 && toggleHop(focusRow),
          intoPanel: () => {
            if (at < 0) return;
            if (!open || selected !== focusRow) select(focusRow);
            // The panel may be drawn only now.
            requestAnimationFrame(() => panel.current?.focus());
          },
        }
      : {}),
    nextView: () => show(traceViews[(traceViews.indexOf(shownView) + 1) % traceViews.length]!),
    panLeft: () => window.set(pan(window.get(), -0.2, duration)),
    panRight: () => window.set(pan(window.get(), 0.2, duration)),
    zoomIn: () => window.set(zoom(window.get(), 0.6, 0.5, duration)),
    zoomOut: () => window.set(zoom(window.get(), 1 / 0.6, 0.5, duration)),
    fit: () => window.set(fitTo(trace.start[focusRow]!, trace.duration[focusRow]!, duration)),
    all: () => window.all(),
    findInTrace: () => finder.current?.select(),
    nextHit: () => reveal(step(hits, focusRow, 1)),
    previousHit: () => reveal(step(hits, focusRow, -1)),
    nextError: () => reveal(step(errors, focusRow, 1)),
    previousError: () => reveal(step(errors, focusRow, -1)),
    critical: () => setView((v) => ({ ...v, critical: !v.critical })),
    ...(open
      ? {
          close: () => {
            if (waterfall && panel.current?.contains(document.activeElement)) setFocusAsked((n) => n + 1);
            else close();
          },
        }
      : {}),
  });

  return (
    <>
      <TraceHeader trace={trace} onRow={reveal} />
      <PartialNotice
        complete={trace.complete}
        reason={trace.reason}
        away={trace.away}
        onRetry={source.key === server.key ? p.onReload : undefined}
      />
      {trace.maybeIncomplete ? (
        <WarnLine
          action={
            <button type="button" className={controls["button"]} onClick={p.onReload}>
              {t.trace.reload}
            </button>
          }
        >
          {t.trace.maybeIncomplete}
        </WarnLine>
      ) : null}
      {p.staleError ? <ErrorNotice error={p.staleError} title={t.state.stale} onRetry={p.onReload} /> : null}
      {p.clocks}
      {huge && view.view === undefined ? (
        <p className={css["huge"]}>{t.views.huge(f.integer(trace.spanCount))}</p>
      ) : null}
      {open && selected < 0 ? <WarnLine>{t.trace.spanNotHere(view.span ?? "")}</WarnLine> : null}
      <Minimap trace={trace} rows={rows} window={window} />
      <Toolbar
        trace={trace}
        raw={p.raw}
        shown={shownView}
        onView={show}
        view={view}
        setView={setView}
        hits={hits}
        found={found}
        focused={focusRow}
        path={path}
        finder={finder}
        window={window}
        errorCount={errors.length}
        onHit={(d) => reveal(step(hits, focusRow, d))}
        onError={(d) => reveal(step(errors, focusRow, d))}
        onFold={foldTo}
        onLeaveFind={() => setFocusAsked((n) => n + 1)}
      />
      <div className={css["body"]}>
        <PanelBoundary key={shownView}>
          {!waterfall ? (
            shownView === "flame" ? (
              <FlameView
                trace={trace}
                view={view}
                setView={setView}
                window={window}
                hits={hitSet}
                selected={selected}
                onSelect={select}
              />
            ) : shownView === "table" ? (
              <TableView trace={trace} view={view} setView={setView} selected={selected} onSelect={select} />
            ) : shownView === "hops" ? (
              <HopsView trace={trace} view={view} setView={setView} selected={selected} onSelect={select} />
            ) : (
              <JsonView trace={trace} find={view.find} />
            )
          ) : rows.count > 0 ? (
            <Waterfall
              trace={trace}
              rows={rows}
              window={window}
              focused={rows.position[focusRow]! >= 0 ? rows.row[rows.position[focusRow]!]! : -1}
              selected={selected}
              hits={hitSet}
              critical={critical}
              focusAsked={focusAsked}
              onFocus={setFocusRow}
              onSelect={select}
              onToggle={toggle}
              onToggleHop={toggleHop}
            />
          ) : (
            <div className={css["nothing"]}>
              <Empty title={view.onlyErrors && errors.length === 0 ? t.trace.noErrors : t.trace.allHidden}>
                <button
                  type="button"
                  className={controls["button"]}
                  onClick={() => setView((v) => ({ ...v, hide: emptyTraceView.hide, onlyErrors: false }))}
                >
                  {t.trace.showEverything}
                </button>
              </Empty>
            </div>
          )}
        </PanelBoundary>
        {open && selected >= 0 ? (
          <PanelBoundary>
            <Details
              trace={trace}
              rows={rows}
              row={selected}
              raw={p.raw}
              panel={panel}
              onRow={(row) => setView((v) => ({ ...v, span: spanRef(trace, row) }))}
              onClose={close}
            />
          </PanelBoundary>
        ) : null}
      </div>
    </>
  );
}

const usualView = (huge: boolean): ViewName => (huge ? "table" : "waterfall");

/** Whether the focus is on a row already; from elsewhere the first step leads to where it was last. */
function inGrid(): boolean {
  return document.activeElement?.matches("[data-row]") ?? false;
}

function flip(refs: readonly string[], ref: string): string[] {
  return refs.includes(ref) ? refs.filter((r) => r !== ref) : [...refs, ref];
}

/** The path's pieces under the row that shows them: those of folded proxies under their hop's row. */
function piecesByShownRow(path: Path, shownAs: Int32Array): Map<number, Piece[]> {
  const out = new Map<number, Piece[]>();
  for (let i = 0; i < path.row.length; i++) {
    const piece = { row: path.row[i]!, from: path.from[i]!, to: path.to[i]! };
    const row = shownAs[piece.row]!;
    const list = out.get(row);
    if (list) list.push(piece);
    else out.set(row, [piece]);
  }
  return out;
}

function useRules(trace: Trace, view: TraceView, usual: number | undefined): RowRules {
  const { hops, hopExcept, hide, onlyErrors, except } = view;
  const level = view.level ?? usual;
  const hidden = hide.join("\n");
  const excepted = except.join();
  const hopsExcepted = hopExcept.join();
  // Joined texts as dependencies: the lists are made anew with every parse of the URL.
  // biome-ignore lint/correctness/useExhaustiveDependencies: see above
  const hopRows = useMemo(() => rowsOfRefs(trace, hopExcept), [trace, hopsExcepted]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: see above
  return useMemo(
    () => ({
      hops,
      hopExcept: hopRows,
      hidden: new Set(trace.services.flatMap((s, i) => (hide.includes(s.name) ? [i] : []))),
      onlyErrors,
      level,
      except: rowsOfRefs(trace, except),
    }),
    [trace, hops, hopRows, hidden, onlyErrors, level, excepted],
  );
}

/** The window moves freely; the URL follows once it rests, and leads when the reader goes back. */
function useWindowInUrl(
  trace: Trace,
  view: TraceView,
  setView: (change: (view: TraceView) => TraceView) => void,
): WindowStore {
  const from = view.window;
  // biome-ignore lint/correctness/useExhaustiveDependencies: later changes of the URL are followed below
  const store = useMemo(
    () => new WindowStore(trace.traceDuration, from),
    [trace.traceId, trace.traceDuration],
  );
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const unsubscribe = store.subscribe(() => {
      clearTimeout(timer);
      timer = setTimeout(() => setView((v) => ({ ...v, window: store.forUrl() })), 250);
    });
    return () => {
      clearTimeout(timer);
      unsubscribe();
    };
  }, [store, setView]);
  const text = from?.join("-");
  // biome-ignore lint/correctness/useExhaustiveDependencies: by its text, not by the pair's identity
  useEffect(() => {
    if (text === store.forUrl()?.join("-")) return;
    if (from) store.set(from);
    else store.all();
  }, [text, store]);
  return store;
}
