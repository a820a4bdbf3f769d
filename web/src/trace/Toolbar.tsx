import type { UseQueryResult } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { Link } from "wouter";
import type { Found } from "../api/types";
import { useI18n } from "../i18n";
import { shiftedClocks } from "../model/clocks";
import { type Path, shares } from "../model/criticalPath";
import { hasDoubtfulTimes, mayGrow, type Trace } from "../model/trace";
import { type TraceView, traceViews, type ViewName } from "../model/traceUrl";
import { isFull } from "../model/window";
import { controls, Segments, ServiceTag } from "../shell/controls";
import { ErrorMark, Icon } from "../shell/Icon";
import { Popover } from "../shell/Popover";
import { useHops } from "./source";
import css from "./Toolbar.module.css";
import { useWindow, type WindowStore } from "./windowStore";

interface Props {
  trace: Trace;
  raw: Trace;
  shown: ViewName;
  onView: (view: ViewName) => void;
  view: TraceView;
  setView: (change: (view: TraceView) => TraceView) => void;
  hits: Int32Array;
  /** Spans that carry the text in their attributes. */
  found: Pick<UseQueryResult<Found>, "data" | "isFetching" | "isError">;
  focused: number;
  path: Path | undefined;
  finder: React.RefObject<HTMLInputElement | null>;
  window: WindowStore;
  errorCount: number;
  onHit: (direction: 1 | -1) => void;
  onError: (direction: 1 | -1) => void;
  onFold: (level: number | undefined) => void;
  onLeaveFind: () => void;
}

/** What the waterfall shows: hops, services, errors, the critical path, and find. */
export function Toolbar(p: Props) {
  const { t, f } = useI18n();
  const { view } = p;
  return (
    <section className={css["bar"]} aria-label={t.trace.toolbar}>
      <Segments
        label={t.views.label}
        name="view"
        value={p.shown}
        options={traceViews.map((v) => ({ value: v, label: t.views[v], title: `${t.views[v]} (V)` }))}
        onChange={p.onView}
      />
      {p.shown === "hops" ? <HopTools {...p} /> : null}
      {p.shown === "flame" && view.inTime ? <ZoomAll window={p.window} /> : null}
      {p.shown === "json" ? null : <Clocks {...p} />}
      <Finder {...p} />
      {p.shown === "waterfall" ? <WaterfallTools {...p} /> : null}
      <span className="sr-only" role="status">
        {view.find && !p.found.isFetching
          ? p.hits.length
            ? f.integer(p.hits.length)
            : t.trace.findNone
          : ""}
      </span>
    </section>
  );
}

/** Times as they were sent, or corrected by what the calls say of the clocks; only where they are doubtful. */
function Clocks({ raw, view, setView }: Props) {
  const { t, f } = useI18n();
  const doubtful = useMemo(() => hasDoubtfulTimes(raw), [raw]);
  const hops = useHops(raw.traceId, view.corrected, mayGrow(raw));
  if (!doubtful && !view.corrected) return null;
  const shifted = shiftedClocks(hops.data?.clocks ?? []);
  return (
    <span className={css["group"]}>
      <Segments
        label={t.clock.label}
        name="clock"
        value={view.corrected ? "corrected" : "raw"}
        options={[
          { value: "raw", label: t.clock.raw, title: t.clock.rawHelp },
          { value: "corrected", label: t.clock.corrected, title: t.clock.correctedHelp },
        ]}
        onChange={(v) => setView((old) => ({ ...old, corrected: v === "corrected", window: undefined }))}
      />
      {view.corrected && shifted.length > 0 ? (
        <Popover
          label={t.clock.list}
          button={
            <button type="button" className={controls["icon"]} aria-label={t.clock.list} title={t.clock.list}>
              <Icon name="clock" size={14} />
            </button>
          }
        >
          <div className={css["services"]}>
            <h3>
              {t.clock.list} <Link href="/help#skew">{t.help}</Link>
            </h3>
            <ul>
              {shifted.map((c) => (
                <li key={c.name}>
                  <span>
                    {(c.shift < 0 ? t.clock.ahead : t.clock.behind)(c.name, f.duration(Math.abs(c.shift)))}
                  </span>
                  <span className={css["spread"]} />
                  <span className={controls["muted"]}>
                    {c.linked ? t.clock.pairs(c.pairs) : t.clock.unlinked}
                  </span>
                </li>
              ))}
            </ul>
          </div>
        </Popover>
      ) : null}
    </span>
  );
}

function HopTools(p: Props) {
  const { t } = useI18n();
  return (
    <>
      <HideServices {...p} />
      <button
        type="button"
        className={controls["button"]}
        aria-pressed={p.view.onlyErrors}
        onClick={() => p.setView((v) => ({ ...v, onlyErrors: !v.onlyErrors }))}
      >
        {t.trace.onlyErrors}
      </button>
    </>
  );
}

function WaterfallTools(p: Props) {
  const { t } = useI18n();
  const { view, setView } = p;
  return (
    <div className={css["tools"]}>
      <span className={css["label"]} aria-hidden="true">
        {t.trace.hops}
      </span>
      <Segments
        label={t.trace.hops}
        name="hops"
        value={view.hops}
        options={[
          { value: "folded", label: t.trace.hopsFolded, title: t.trace.hopsFoldedHelp },
          { value: "all", label: t.trace.hopsAll, title: t.trace.hopsAllHelp },
          { value: "none", label: t.trace.hopsNone, title: t.trace.hopsNoneHelp },
        ]}
        onChange={(hops) => setView((v) => ({ ...v, hops, hopExcept: [] }))}
      />
      <HideServices {...p} />
      <span className={css["group"]}>
        <button
          type="button"
          className={controls["button"]}
          aria-pressed={view.onlyErrors}
          onClick={() => setView((v) => ({ ...v, onlyErrors: !v.onlyErrors }))}
        >
          {t.trace.onlyErrors}
        </button>
        <button
          type="button"
          className={controls["icon"]}
          disabled={p.errorCount === 0}
          onClick={() => p.onError(-1)}
          aria-label={t.trace.previousError}
          title={`${t.trace.previousError} (Shift E)`}
        >
          <Icon name="chevronUp" />
        </button>
        <button
          type="button"
          className={controls["icon"]}
          disabled={p.errorCount === 0}
          onClick={() => p.onError(1)}
          aria-label={t.trace.nextError}
          title={`${t.trace.nextError} (E)`}
        >
          <Icon name="chevronDown" />
        </button>
      </span>
      <span className={css["group"]}>
        <button
          type="button"
          className={controls["button"]}
          aria-pressed={view.critical}
          onClick={() => setView((v) => ({ ...v, critical: !v.critical }))}
        >
          {t.trace.critical}
        </button>
        {p.path ? <CriticalShares trace={p.trace} path={p.path} /> : null}
      </span>
      <span className={css["group"]}>
        <button
          type="button"
          className={controls["button"]}
          onClick={() => p.onFold(1)}
          title={`${t.trace.foldAll} ([)`}
        >
          {t.trace.foldAll}
        </button>
        <button
          type="button"
          className={controls["button"]}
          onClick={() => p.onFold(undefined)}
          title={`${t.trace.unfoldAll} (])`}
        >
          {t.trace.unfoldAll}
        </button>
      </span>
      <ZoomAll window={p.window} />
    </div>
  );
}

function ZoomAll({ window }: { window: WindowStore }) {
  const { t } = useI18n();
  const w = useWindow(window);
  if (isFull(w, window.duration)) return null;
  return (
    <button
      type="button"
      className={controls["button"]}
      onClick={() => window.all()}
      title={`${t.trace.zoomAll} (0)`}
    >
      {t.trace.zoomAll}
    </button>
  );
}

/** Find by names and ids as it is typed, and by attributes when the server answered; Enter goes to the next hit. */
function Finder(p: Props) {
  const { t, f } = useI18n();
  const { view, setView, hits } = p;
  const [text, setText] = useState(view.find);
  useEffect(() => setText(view.find), [view.find]);
  const at = hits.indexOf(p.focused);
  const { data } = p.found;
  const cut =
    data && data.spanIds.length < data.count
      ? t.trace.findFirst(f.integer(data.spanIds.length), f.integer(data.count))
      : undefined;
  return (
    <div className={css["find"]} role="search">
      <input
        ref={p.finder}
        type="search"
        className={controls["input"]}
        aria-label={t.trace.find}
        placeholder={t.trace.findPlaceholder}
        title={`${t.trace.find} (F)`}
        autoComplete="off"
        spellCheck={false}
        value={text}
        onChange={(e) => {
          setText(e.target.value);
          setView((v) => ({ ...v, find: e.target.value }));
        }}
        onKeyDown={(e) => {
          if (e.nativeEvent.isComposing || e.keyCode === 229) return;
          if (e.key === "Enter") {
            e.preventDefault();
            p.onHit(e.shiftKey ? -1 : 1);
          } else if (e.key === "Escape") {
            e.preventDefault();
            if (text) setView((v) => ({ ...v, find: "" }));
            p.onLeaveFind();
          }
        }}
      />
      <span className={css["hits"]} title={cut}>
        {view.find === ""
          ? ""
          : hits.length === 0
            ? p.found.isFetching
              ? t.trace.findBusy
              : t.trace.findNone
            : at >= 0
              ? t.trace.findHits(f.integer(at + 1), f.integer(hits.length))
              : f.integer(hits.length)}
        {cut ? "+" : null}
        {view.find !== "" && p.found.isError ? (
          <span className={controls["muted"]} title={t.trace.findNamesHelp}>
            {" "}
            {t.trace.findNames}
          </span>
        ) : null}
      </span>
      <button
        type="button"
        className={controls["icon"]}
        disabled={hits.length === 0}
        onClick={() => p.onHit(-1)}
        aria-label={t.trace.previous}
        title={`${t.trace.previous} (Shift N)`}
      >
        <Icon name="chevronUp" />
      </button>
      <button
        type="button"
        className={controls["icon"]}
        disabled={hits.length === 0}
        onClick={() => p.onHit(1)}
        aria-label={t.trace.next}
        title={`${t.trace.next} (N)`}
      >
        <Icon name="chevronDown" />
      </button>
    </div>
  );
}

function HideServices({ trace, view, setView }: Props) {
  const { t, f } = useI18n();
  const counts = useMemo(() => {
    const spans = new Int32Array(trace.services.length);
    const errors = new Int32Array(trace.services.length);
    for (let r = 0; r < trace.n; r++) {
      spans[trace.service[r]!]!++;
      if (trace.flags[r]! & 1) errors[trace.service[r]!]!++;
    }
    return trace.services
      .map((s, i) => ({ ...s, spans: spans[i]!, errors: errors[i]! }))
      .sort((a, b) => b.spans - a.spans || (a.name < b.name ? -1 : 1));
  }, [trace]);
  const hidden = counts.filter((s) => view.hide.includes(s.name)).length;
  const set = (hide: string[]) => setView((v) => ({ ...v, hide }));
  return (
    <Popover
      label={t.trace.hideTitle}
      button={
        <button type="button" className={controls["button"]} data-on={hidden > 0}>
          {t.trace.hide}
          {hidden > 0 ? <span>· {t.trace.hideCount(hidden)}</span> : null}
          <Icon name="chevronDown" size={12} />
        </button>
      }
    >
      <div className={css["services"]}>
        <div className={css["servicesHead"]}>
          <h3>{t.trace.hideTitle}</h3>
          <button type="button" className={controls["plain"]} onClick={() => set([])} disabled={hidden === 0}>
            {t.trace.showAll}
          </button>
        </div>
        <ul>
          {counts.map((s) => (
            <li key={s.name}>
              <label>
                <input
                  type="checkbox"
                  checked={!view.hide.includes(s.name)}
                  onChange={(e) =>
                    set(e.target.checked ? view.hide.filter((h) => h !== s.name) : [...view.hide, s.name])
                  }
                />
                <ServiceTag name={s.name} slot={s.slot} />
              </label>
              {s.errors > 0 ? (
                <span className={controls["error"]}>
                  <ErrorMark size={10} /> {f.integer(s.errors)}
                </span>
              ) : null}
              <span className={controls["muted"]}>{f.integer(s.spans)}</span>
              <button
                type="button"
                className={controls["plain"]}
                aria-label={`${s.name}: ${t.trace.only}`}
                onClick={() => set(counts.filter((o) => o.name !== s.name).map((o) => o.name))}
              >
                {t.trace.only}
              </button>
            </li>
          ))}
        </ul>
      </div>
    </Popover>
  );
}

/** Which services the critical path runs through, and for how long. */
function CriticalShares({ trace, path }: { trace: Trace; path: Path }) {
  const { t, f } = useI18n();
  const list = useMemo(() => shares(trace, path), [trace, path]);
  const total = list.reduce((sum, s) => sum + s.time, 0) || 1;
  return (
    <Popover
      label={t.trace.criticalShare}
      button={
        <button
          type="button"
          className={controls["icon"]}
          aria-label={t.trace.criticalShare}
          title={t.trace.criticalShare}
        >
          <Icon name="chevronDown" size={12} />
        </button>
      }
    >
      <div className={css["services"]}>
        <h3>{t.trace.criticalShare}</h3>
        <ul>
          {list.map((s) => (
            <li key={s.service}>
              <ServiceTag name={trace.services[s.service]!.name} slot={trace.services[s.service]!.slot} />
              <span className={css["spread"]} />
              <span>{f.duration(s.time)}</span>
              <span className={css["percent"]}>{f.percent(s.time / total)}</span>
            </li>
          ))}
        </ul>
      </div>
    </Popover>
  );
}
