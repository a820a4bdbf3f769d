import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { ApiError, api } from "../api/client";
import type { Differences, DifferingField, DifferingValue, Heatmap } from "../api/types";
import { useI18n } from "../i18n";
import type { Apart } from "../model/apart";
import type { Filter } from "../model/filters";
import { nsText } from "../model/nsText";
import { msInstant, type Range, rangeWindow } from "../model/time";
import type { Question } from "../model/traceql";
import { controls, Segments } from "../shell/controls";
import { Icon } from "../shell/Icon";
import { useShortcuts } from "../shell/keys";
import { Empty, ErrorNotice, Loading, PartialNotice } from "../shell/states";
import css from "./ApartPanel.module.css";
import { askedOf } from "./useTraceStream";

/** What sets the slow, the failed or the chosen spans apart from the rest, by attribute; a click makes a filter of it. */
export function ApartPanel(p: {
  question: Question;
  range: Range;
  apart: Apart;
  heat: Heatmap | undefined;
  onApart: (apart: Apart | undefined) => void;
  onFilter: (filter: Filter) => void;
}) {
  const { t, f } = useI18n();
  const panel = useRef<HTMLElement>(null);
  const { apart, heat } = p;
  const slowFrom = heat?.red.p95;
  const selection = selectionOf(apart, slowFrom);
  const asked = askedOf(p.question);
  const query = useQuery({
    queryKey: ["differences", asked, p.range, selection],
    enabled: selection !== undefined,
    queryFn: ({ signal }) =>
      api.differences({ ...asked, ...selection!, ...rangeWindow(p.range), fields: 12 }, { signal }),
    staleTime: 60_000,
    retry: false,
  });
  const area = apart.kind === "area" ? apart : undefined;
  useShortcuts({ close: () => p.onApart(undefined) });
  useEffect(() => panel.current?.focus({ preventScroll: true }), []);

  return (
    <aside ref={panel} tabIndex={-1} className={css["panel"]} aria-label={t.apart.title}>
      <div className={css["head"]}>
        <h2>{t.apart.title}</h2>
        <button
          type="button"
          className={controls["icon"]}
          aria-label={t.apart.close}
          title={t.apart.close}
          onClick={() => p.onApart(undefined)}
        >
          <Icon name="close" />
        </button>
      </div>
      <Segments
        label={t.apart.which}
        name="apart"
        value={apart.kind}
        options={[
          { value: "slow", label: t.apart.slow, title: t.apart.slowHelp },
          { value: "failed", label: t.apart.failed, title: t.apart.failedHelp },
          ...(area ? [{ value: "area" as const, label: t.apart.area, title: t.apart.areaHelp }] : []),
        ]}
        onChange={(kind) => p.onApart(kind === "area" ? area : { kind })}
      />
      {query.data ? (
        <p className={css["about"]}>
          {t.apart.against(f.integer(query.data.selected), f.integer(query.data.rest))}{" "}
          {apart.kind === "slow" && slowFrom !== undefined ? t.apart.slowFrom(f.duration(slowFrom)) : null}
        </p>
      ) : null}
      <div className={css["body"]}>
        {query.error ? (
          <ErrorNotice
            error={query.error}
            onRetry={() => query.refetch()}
            {...(query.error instanceof ApiError && query.error.kind === "unsupported"
              ? { title: t.apart.unsupported }
              : {})}
          />
        ) : query.data ? (
          <Fields data={query.data} onFilter={p.onFilter} />
        ) : query.isFetching || !heat ? (
          <Loading rows={8} />
        ) : null}
      </div>
    </aside>
  );
}

/** Undefined while it is not known yet what slow is. */
function selectionOf(
  a: Apart,
  slowFrom: number | undefined,
): { select: string[]; selectStart?: string; selectEnd?: string } | undefined {
  if (a.kind === "failed") return { select: ["error=true"] };
  if (a.kind === "slow") {
    return slowFrom === undefined ? undefined : { select: [`duration>=${nsText(slowFrom)}`] };
  }
  const select = [];
  if (a.least > 0) select.push(`duration>=${nsText(a.least)}`);
  if (a.most > 0) select.push(`duration<${nsText(a.most)}`);
  return { select, selectStart: msInstant(a.from), selectEnd: msInstant(a.to) };
}

function Fields({ data, onFilter }: { data: Differences; onFilter: (filter: Filter) => void }) {
  const { t } = useI18n();
  return (
    <>
      <PartialNotice complete={data.complete} reason={data.reason} away={data.away} read={data.read} />
      {data.selected === 0 ? (
        <Empty title={t.apart.noneSelected} />
      ) : data.rest === 0 ? (
        <Empty title={t.apart.noneRest} />
      ) : data.items.length === 0 ? (
        <Empty title={t.apart.same} />
      ) : (
        <>
          <p className={css["legend"]} aria-hidden="true">
            <span data-half="selected" /> {t.apart.selected} <span data-half="rest" /> {t.apart.rest}
          </p>
          {data.items.map((field) => (
            <Field key={`${field.scope} ${field.field}`} field={field} data={data} onFilter={onFilter} />
          ))}
        </>
      )}
    </>
  );
}

function Field(p: { field: DifferingField; data: Differences; onFilter: (filter: Filter) => void }) {
  const { t } = useI18n();
  const { field } = p;
  return (
    <section className={css["field"]}>
      <h3>
        {field.scope === "intrinsic" ? (t.apart.fields[field.field] ?? field.field) : field.key}
        {field.scope === "resource" ? <span className={controls["muted"]}> resource</span> : null}
        {field.many ? <span className={controls["muted"]}> {t.apart.many}</span> : null}
      </h3>
      <ul>
        {field.values.map((v) => (
          <Value
            key={v.absent ? "absent" : `=${v.value}`}
            field={field}
            value={v}
            data={p.data}
            onFilter={p.onFilter}
          />
        ))}
      </ul>
    </section>
  );
}

/** filterOf is a value as a filter; undefined where filters cannot say it: an absent one, one that was cut, a key with blanks. */
export function filterOf(field: DifferingField, v: DifferingValue, op: "=" | "!="): Filter | undefined {
  if (v.absent || v.cut || v.value === undefined) return undefined;
  if (field.key !== undefined && /[\s"=!<>?]/.test(field.key)) return undefined;
  return { field: field.field, op, value: v.value };
}

function Value(p: {
  field: DifferingField;
  value: DifferingValue;
  data: Differences;
  onFilter: (filter: Filter) => void;
}) {
  const { t, f } = useI18n();
  const { value: v } = p;
  const name = v.absent ? t.apart.absent : v.value || '""';
  const selected = v.selected / p.data.selected;
  const rest = v.rest / p.data.rest;
  const only = filterOf(p.field, v, "=");
  const without = filterOf(p.field, v, "!=");
  return (
    <li className={css["value"]}>
      <div className={css["name"]} data-absent={v.absent === true}>
        <span title={name}>{name}</span>
        {only && without ? (
          <>
            <button
              type="button"
              className={controls["icon"]}
              aria-label={t.apart.add(name)}
              title={t.apart.add(name)}
              onClick={() => p.onFilter(only)}
            >
              <Icon name="plus" size={12} />
            </button>
            <button
              type="button"
              className={controls["icon"]}
              aria-label={t.apart.exclude(name)}
              title={t.apart.exclude(name)}
              onClick={() => p.onFilter(without)}
            >
              <Icon name="minus" size={12} />
            </button>
          </>
        ) : null}
      </div>
      <div
        className={css["bars"]}
        role="img"
        aria-label={t.apart.share(name, f.percent(selected), f.percent(rest))}
      >
        <span className={css["bar"]} data-half="selected">
          <span style={{ width: `${selected * 100}%` }} />
        </span>
        <span>{f.percent(selected)}</span>
        <span className={css["bar"]} data-half="rest">
          <span style={{ width: `${rest * 100}%` }} />
        </span>
        <span>{f.percent(rest)}</span>
      </div>
    </li>
  );
}
