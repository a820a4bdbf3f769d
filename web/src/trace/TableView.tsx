import { useVirtualizer } from "@tanstack/react-virtual";
import { useLayoutEffect, useMemo, useRef } from "react";
import { useI18n } from "../i18n";
import { shortOperation } from "../model/envoy";
import { type Line, sortLines, summarize } from "../model/summary";
import type { Trace } from "../model/trace";
import type { TableColumn, TraceView } from "../model/traceUrl";
import { controls, Segments, ServiceTag } from "../shell/controls";
import { ErrorMark, Icon } from "../shell/Icon";
import { usePrefs } from "../shell/prefs";
import { Empty, Loading } from "../shell/states";
import css from "./TableView.module.css";
import { useComputed } from "./useComputed";

/** The trace summed up by service or operation: everything the flame graph shows, as text. */
export default function TableView(p: {
  trace: Trace;
  view: TraceView;
  setView: (change: (view: TraceView) => TraceView) => void;
  selected: number;
  onSelect: (row: number) => void;
}) {
  const { t, f } = useI18n();
  const { trace, view, setView } = p;
  const self = useComputed(trace, "self");
  const path = useComputed(trace, "path");
  const all = useMemo(
    () => (self && path ? summarize(trace, self, path, view.group) : undefined),
    [trace, self, path, view.group],
  );
  const wanted = view.find.trim().toLowerCase();
  const lines = useMemo(() => {
    if (!all) return undefined;
    const fits = (l: Line) =>
      (trace.services[l.service]?.name ?? "").toLowerCase().includes(wanted) ||
      (trace.names[l.name] ?? "").toLowerCase().includes(wanted);
    return sortLines(wanted ? all.filter(fits) : all, trace, view.sort);
  }, [all, trace, view.sort, wanted]);
  const work = useMemo(() => Math.max(1, all?.reduce((sum, l) => sum + l.self, 0) ?? 0), [all]);
  const pathTime = useMemo(() => Math.max(1, all?.reduce((sum, l) => sum + l.path, 0) ?? 0), [all]);

  const scroll = useRef<HTMLDivElement>(null);
  const rowHeight = usePrefs().density === "dense" ? 24 : 30;
  const virtual = useVirtualizer({
    count: lines?.length ?? 0,
    getScrollElement: () => scroll.current,
    estimateSize: () => rowHeight,
    overscan: 10,
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the virtualizer is told, it does not watch
  useLayoutEffect(() => virtual.measure(), [rowHeight]);

  const columns: { id: TableColumn; text: string; help?: string }[] = [
    { id: "name", text: view.group === "service" ? t.table.service : t.table.operation },
    { id: "spans", text: t.trace.spans },
    { id: "errors", text: t.trace.errors },
    { id: "self", text: t.table.self, help: t.table.selfHelp },
    { id: "path", text: t.trace.critical, help: t.table.pathHelp },
    { id: "total", text: t.table.total, help: t.table.totalHelp },
    { id: "average", text: t.table.average },
    { id: "longest", text: t.table.longest, help: t.table.longestHelp },
  ];
  return (
    <section className={css["view"]} aria-label={t.views.table}>
      <div className={css["head"]}>
        <Segments
          label={t.table.by}
          name="group"
          value={view.group}
          options={[
            { value: "operation", label: t.table.byOperation },
            { value: "service", label: t.table.byService },
          ]}
          onChange={(group) => setView((v) => ({ ...v, group }))}
        />
        <span className={controls["muted"]}>{lines ? t.table.lines(f.integer(lines.length)) : ""}</span>
      </div>
      {lines === undefined ? (
        <Loading rows={12} />
      ) : lines.length === 0 ? (
        <Empty title={t.table.none(view.find)}>
          <button
            type="button"
            className={controls["button"]}
            onClick={() => setView((v) => ({ ...v, find: "" }))}
          >
            {t.trace.showEverything}
          </button>
        </Empty>
      ) : (
        <div
          role="table"
          aria-label={t.views.table}
          aria-rowcount={lines.length + 1}
          className={css["table"]}
        >
          <div role="rowgroup" className={css["headGroup"]}>
            <div role="row" aria-rowindex={1} className={css["headRow"]}>
              {columns.map((c) => (
                <div
                  key={c.id}
                  role="columnheader"
                  aria-sort={view.sort === c.id ? (c.id === "name" ? "ascending" : "descending") : "none"}
                  title={c.help}
                >
                  <button
                    type="button"
                    className={css["sort"]}
                    data-on={view.sort === c.id}
                    onClick={() => setView((v) => ({ ...v, sort: c.id }))}
                  >
                    {c.text}
                    {view.sort === c.id ? (
                      <Icon name={c.id === "name" ? "chevronUp" : "chevronDown"} size={12} />
                    ) : null}
                  </button>
                </div>
              ))}
            </div>
          </div>
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
          <div role="rowgroup" ref={scroll} className={css["scroll"]} tabIndex={0}>
            <div role="presentation" style={{ height: virtual.getTotalSize(), position: "relative" }}>
              {virtual.getVirtualItems().map((item) => {
                const l = lines[item.index]!;
                const s = trace.services[l.service];
                const name = l.name < 0 ? "" : (trace.names[l.name] ?? "");
                return (
                  <div
                    key={`${l.service} ${l.name}`}
                    role="row"
                    aria-rowindex={item.index + 2}
                    className={css["row"]}
                    data-on={p.selected === l.longestRow}
                    style={{ transform: `translateY(${item.start}px)`, height: rowHeight }}
                  >
                    <div role="cell" className={css["name"]} title={`${s?.name ?? ""} ${name}`}>
                      <ServiceTag name={s?.name ?? ""} slot={s?.slot ?? 0} />
                      {name ? <span className={css["operation"]}>{shortOperation(name)}</span> : null}
                    </div>
                    <div role="cell">{f.integer(l.spans)}</div>
                    <div role="cell" className={l.errors > 0 ? controls["error"] : controls["muted"]}>
                      {l.errors > 0 ? (
                        <>
                          <ErrorMark size={10} /> {f.integer(l.errors)}
                        </>
                      ) : (
                        "0"
                      )}
                    </div>
                    <Share time={l.self} of={work} slot={s?.slot ?? 0} />
                    <Share time={l.path} of={pathTime} slot={s?.slot ?? 0} />
                    <div role="cell">{f.duration(l.total)}</div>
                    <div role="cell">{f.duration(l.total / l.spans)}</div>
                    <div role="cell">
                      <button
                        type="button"
                        className={controls["plain"]}
                        aria-label={t.table.openLongest(`${s?.name ?? ""} ${name}`, f.duration(l.longest))}
                        onClick={() => p.onSelect(l.longestRow)}
                      >
                        {f.duration(l.longest)}
                      </button>
                    </div>
                  </div>
                );
              })}
            </div>
          </div>
        </div>
      )}
    </section>
  );
}

/** A time with its share of all, as a number and as a bar. */
function Share({ time, of, slot }: { time: number; of: number; slot: number }) {
  const { f } = useI18n();
  const part = time / of;
  return (
    <div role="cell" className={css["share"]}>
      <span>{f.duration(time)}</span>
      <span className={css["percent"]}>{f.percent(part)}</span>
      <span className={css["track"]} aria-hidden="true">
        <span
          style={{
            width: `${Math.min(100, part * 100)}%`,
            background: `var(--svc-${((slot % 20) + 20) % 20})`,
          }}
        />
      </span>
    </div>
  );
}
