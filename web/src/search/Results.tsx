import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, type ReactNode, useRef } from "react";
import { Link } from "wouter";
import type { TraceService, TraceSummary } from "../api/types";
import { useI18n } from "../i18n";
import { slotVar } from "../model/colour";
import { shortOperation } from "../model/envoy";
import { instantMs } from "../model/time";
import { visible } from "../model/visible";
import { controls } from "../shell/controls";
import { ErrorMark, Icon } from "../shell/Icon";
import { useListKeys } from "../shell/listKeys";
import { useNow } from "../shell/now";
import css from "./Results.module.css";

const rowHeight = 34;

/** The traces as a table whose rows are drawn as they come into sight. */
export function Results(p: { traces: readonly TraceSummary[]; busy: boolean; foot: ReactNode }) {
  const { t } = useI18n();
  const scroll = useRef<HTMLDivElement>(null);
  const list = useListKeys();
  const longest = p.traces.reduce((most, x) => Math.max(most, x.duration), 1);
  const rows = useVirtualizer({
    count: p.traces.length,
    getScrollElement: () => scroll.current,
    estimateSize: () => rowHeight,
    overscan: 12,
    getItemKey: (i) => p.traces[i]?.traceId ?? i,
  });
  return (
    <div className={css["scroll"]} ref={scroll} aria-busy={p.busy}>
      <div
        role="table"
        aria-label={t.search.results}
        aria-rowcount={p.traces.length + 1}
        ref={list.ref}
        data-keys="lists"
        className={css["table"]}
      >
        <div role="rowgroup" className={css["headGroup"]}>
          <div role="row" aria-rowindex={1} className={`${css["row"]} ${css["head"]}`}>
            <div role="columnheader">{t.search.colTrace}</div>
            <div role="columnheader">{t.search.colServices}</div>
            <div role="columnheader" className={controls["number"]}>
              {t.search.colSpans}
            </div>
            <div role="columnheader" className={controls["number"]}>
              {t.search.colErrors}
            </div>
            <div role="columnheader">{t.search.colDuration}</div>
            <div role="columnheader" className={controls["number"]}>
              {t.search.colStart}
            </div>
          </div>
        </div>
        <div role="rowgroup" className={css["body"]} style={{ height: rows.getTotalSize() }}>
          {rows.getVirtualItems().map((item) => (
            <Row
              key={item.key}
              trace={p.traces[item.index]!}
              index={item.index}
              top={item.start}
              longest={longest}
            />
          ))}
        </div>
      </div>
      <div className={css["foot"]}>{p.foot}</div>
    </div>
  );
}

const Row = memo(function Row(p: { trace: TraceSummary; index: number; top: number; longest: number }) {
  const { t, f } = useI18n();
  const { trace } = p;
  const now = useNow();
  const start = instantMs(trace.start);
  const rootSlot = trace.services.find((s) => s.name === trace.rootService)?.slot ?? 0;
  const duration = f.duration(trace.duration);
  return (
    <div
      role="row"
      aria-rowindex={p.index + 2}
      className={css["row"]}
      style={{ transform: `translateY(${p.top}px)` }}
    >
      <div role="cell" className={css["trace"]}>
        <Link
          href={`/trace/${trace.traceId}`}
          data-row-link=""
          className={css["link"]}
          aria-label={t.search.rowLabel(
            `${trace.rootService} ${shortOperation(trace.rootOperation)}`,
            duration,
            f.integer(trace.spans),
            trace.errors,
            f.ago(start, now),
          )}
        >
          <span className={controls["tick"]} style={{ background: slotVar(rootSlot) }} />
          <span className={css["service"]}>{visible(trace.rootService)}</span>{" "}
          <span className={css["operation"]}>{shortOperation(trace.rootOperation)}</span>
        </Link>
        {trace.rootMissing ? <span className={css["tag"]}>{t.search.rootMissing}</span> : null}
        {trace.maybeIncomplete ? (
          <span className={css["arriving"]} title={t.search.maybeIncomplete}>
            <Icon name="clock" size={12} />
            <span className="sr-only">{t.search.maybeIncomplete}</span>
          </span>
        ) : null}
      </div>
      <div role="cell">
        <Ticks services={trace.services} />
      </div>
      <div role="cell" className={controls["number"]}>
        {f.integer(trace.spans)}
      </div>
      <div role="cell" className={controls["number"]}>
        {trace.errors > 0 ? (
          <span className={css["errors"]}>
            <ErrorMark /> {f.integer(trace.errors)}
          </span>
        ) : (
          <span className={controls["muted"]}>0</span>
        )}
      </div>
      <div role="cell" className={css["duration"]}>
        <span className={css["track"]} aria-hidden="true">
          <span style={{ width: `${Math.max(0.5, (trace.duration / p.longest) * 100)}%` }} />
        </span>
        <span className={css["time"]}>{duration}</span>
      </div>
      <div role="cell" className={controls["number"]} title={f.utc(start)}>
        <span>{f.dateTime(start)}</span> <span className={css["ago"]}>{f.ago(start, now)}</span>
      </div>
    </div>
  );
});

const most = 14;

/** One tick a service, as high as its share of the spans is large; a failed one stands on a mark. */
function Ticks({ services }: { services: readonly TraceService[] }) {
  const { t, f } = useI18n();
  const shown = services.slice(0, most);
  const spans = services.reduce((n, s) => Math.max(n, s.spans), 1);
  return (
    <span
      className={css["ticks"]}
      role="img"
      aria-label={t.search.servicesLabel(f.list(services.map((s) => s.name)))}
    >
      {shown.map((s) => (
        <span
          key={s.name}
          className={css["stick"]}
          data-error={s.errors > 0}
          title={t.search.serviceTick(s.name, f.integer(s.spans), s.errors)}
        >
          <span style={{ background: slotVar(s.slot), height: `${35 + 65 * Math.sqrt(s.spans / spans)}%` }} />
        </span>
      ))}
      <span className={css["more"]}>
        {services.length > most ? `+${f.integer(services.length - most)}` : f.integer(services.length)}
      </span>
    </span>
  );
}
