import { useMemo } from "react";
import { Link } from "wouter";
import type { Service } from "../api/types";
import { useI18n } from "../i18n";
import { isLoopback, reachable } from "../model/address";
import { change } from "../model/colour";
import {
  type Column,
  formatOverview,
  naturalDescending,
  type OverviewView,
  parseOverview,
} from "../model/overviewUrl";
import { searchFor } from "../model/searchUrl";
import { instantMs, type Range, wider } from "../model/time";
import { visible } from "../model/visible";
import { controls, ServiceTag } from "../shell/controls";
import { Icon } from "../shell/Icon";
import { later } from "../shell/later";
import { useListKeys } from "../shell/listKeys";
import { useNow } from "../shell/now";
import { useServices, useStatus } from "../shell/queries";
import { RangePicker, rangeText } from "../shell/RangePicker";
import { Scroll } from "../shell/Scroll";
import { Empty, ErrorNotice, Loading, PanelBoundary, PartialNotice } from "../shell/states";
import { useTitle } from "../shell/title";
import { useUrlState } from "../shell/url";
import css from "./Overview.module.css";
import { Receiving, sum } from "./Receiving";
import { Sparkline } from "./Sparkline";
import { sortServices } from "./sort";

// What it asks is heavier than the page itself, and the figures do not wait for it.
const Trouble = later(() => import("./Trouble"));

const codec = { parse: parseOverview, format: formatOverview };

/** Is it fine, and is anything arriving? */
export function Overview() {
  const { t } = useI18n();
  const [view, setView] = useUrlState(codec);
  useTitle(t.overview.title);
  return (
    <main id="main" tabIndex={-1} className={css["page"]}>
      <div className={css["head"]}>
        <h1>{t.overview.title}</h1>
        <p className={controls["muted"]}>{t.overview.question}</p>
      </div>
      <PanelBoundary>
        <Receiving />
      </PanelBoundary>
      <PanelBoundary>
        <Trouble range={view.range} />
      </PanelBoundary>
      <PanelBoundary>
        <Services view={view} setView={setView} />
      </PanelBoundary>
    </main>
  );
}

function headClass(c: Column): string | undefined {
  if (c === "name") return undefined;
  const delta = c === "rate" || c === "errors" || c === "p95";
  return delta ? `${controls["number"]} ${css["withDelta"]}` : controls["number"];
}

type SetView = (change: (view: OverviewView) => OverviewView, step?: "push" | "replace") => void;

function Services({ view, setView }: { view: OverviewView; setView: SetView }) {
  const { t, f } = useI18n();
  const services = useServices(view.range);
  const wanted = view.find.trim().toLowerCase();
  const items = services.data?.items;
  const shown = useMemo(() => {
    const fitting = (items ?? []).filter(
      (s) => s.name.toLowerCase().includes(wanted) || s.namespace.toLowerCase().includes(wanted),
    );
    return sortServices(fitting, view.sort, view.descending);
  }, [items, wanted, view.sort, view.descending]);

  return (
    <section aria-labelledby="services" className={css["services"]}>
      <div className={css["bar"]}>
        <h2 id="services">
          {t.overview.services}{" "}
          {items ? <span className={controls["muted"]}>{f.integer(items.length)}</span> : null}
        </h2>
        <input
          type="search"
          className={`${controls["input"]} ${css["find"]}`}
          aria-label={t.overview.find}
          placeholder={t.overview.find}
          value={view.find}
          onChange={(e) => setView((v) => ({ ...v, find: e.target.value }))}
        />
        <RangePicker range={view.range} onChange={(range) => setView((v) => ({ ...v, range }), "push")} />
        <button
          type="button"
          className={controls["button"]}
          onClick={() => services.refetch()}
          title={t.app.refresh}
          aria-label={t.app.refresh}
        >
          <Icon name="refresh" />
        </button>
      </div>
      {services.error ? (
        <ErrorNotice
          error={services.error}
          onRetry={() => services.refetch()}
          {...(items ? { title: t.state.stale } : {})}
        />
      ) : null}
      <PartialNotice
        complete={services.data?.complete}
        reason={services.data?.reason}
        away={services.data?.away}
        read={services.data?.read}
      />
      {items && shown.length > 0 ? (
        <Table services={shown} view={view} setView={setView} busy={services.isPlaceholderData} />
      ) : items ? (
        <Nothing view={view} setView={setView} any={items.length > 0} />
      ) : services.isPending ? (
        <Loading rows={8} />
      ) : null}
    </section>
  );
}

/** Which of the kinds of nothing it is: never anything, nothing in this range, or nothing of this name. */
function Nothing({ view, setView, any }: { view: OverviewView; setView: SetView; any: boolean }) {
  const i18n = useI18n();
  const { t, f } = i18n;
  const status = useStatus();
  const now = useNow();
  if (any) {
    return (
      <Empty title={t.overview.emptyFind(view.find)}>
        <button
          type="button"
          className={controls["button"]}
          onClick={() => setView((v) => ({ ...v, find: "" }))}
        >
          {t.overview.emptyFindClear}
        </button>
      </Empty>
    );
  }
  const receivers = status.data?.receivers ?? [];
  const open = receivers.filter((r) => r.address);
  const last = Math.max(...receivers.map((r) => instantMs(r.lastTime)).filter(Number.isFinite));
  const stored = (status.data?.store.spans ?? 0) > 0;
  if (!Number.isFinite(last) && !stored) {
    const refused = receivers.reduce((n, r) => n + sum(r.refused), 0);
    return (
      <Empty title={t.overview.emptyNothing}>
        <p>{t.overview.emptyNothingHelp}</p>
        <ul>
          {open.map((r) => (
            <li key={r.protocol}>
              {t.protocol[r.protocol] ?? r.protocol}:{" "}
              <code>{reachable(r.address, window.location.hostname)}</code>
            </li>
          ))}
        </ul>
        {open.length > 0 && open.every((r) => isLoopback(r.address)) ? (
          <p>
            {t.overview.emptyLoopback} <code>--listen-host 0.0.0.0</code>
          </p>
        ) : null}
        {refused > 0 ? (
          <p>
            <Link href="/status">{t.overview.emptyRefused(f.integer(refused))}</Link>
          </p>
        ) : null}
        <p>
          <Link href="/mesh">{t.app.configureMesh}</Link>
        </p>
      </Empty>
    );
  }
  const next = wider(view.range, now);
  return (
    <Empty title={t.overview.emptyWindow}>
      {Number.isFinite(last) ? <p>{t.overview.emptyWindowHelp(f.ago(last, now))}</p> : null}
      {next ? (
        <button
          type="button"
          className={controls["button"]}
          onClick={() => setView((v) => ({ ...v, range: next }), "push")}
        >
          {t.overview.emptyWiden(rangeText(next, i18n))}
        </button>
      ) : null}
    </Empty>
  );
}

function Table(p: { services: Service[]; view: OverviewView; setView: SetView; busy: boolean }) {
  const { t } = useI18n();
  const list = useListKeys();
  const heads: { column: Column; text: string }[] = [
    { column: "name", text: t.overview.colService },
    { column: "rate", text: t.overview.colRate },
    { column: "errors", text: t.overview.colErrors },
    { column: "p50", text: t.overview.colP50 },
    { column: "p95", text: t.overview.colP95 },
    { column: "p99", text: t.overview.colP99 },
  ];
  const sort = (column: Column) =>
    p.setView((v) => ({
      ...v,
      sort: column,
      descending: v.sort === column ? !v.descending : naturalDescending(column),
    }));
  return (
    <div className={css["busy"]} ref={list.ref} data-keys="lists" aria-busy={p.busy}>
      <Scroll className={css["scroll"]} label={t.overview.services}>
        <table className={`${controls["table"]} ${css["table"]}`}>
          <thead>
            <tr>
              {heads.map(({ column, text }) => {
                const here = p.view.sort === column;
                return (
                  <th
                    key={column}
                    aria-sort={here ? (p.view.descending ? "descending" : "ascending") : "none"}
                    className={headClass(column)}
                  >
                    <button type="button" className={css["sort"]} onClick={() => sort(column)}>
                      {text}
                      <span className={css["arrow"]} data-on={here}>
                        <Icon name={here && !p.view.descending ? "chevronUp" : "chevronDown"} size={12} />
                      </span>
                    </button>
                  </th>
                );
              })}
              <th>{t.overview.colTrend}</th>
              <th className={controls["number"]}>{t.overview.colSpans}</th>
              <th className={controls["number"]}>{t.overview.colLast}</th>
            </tr>
          </thead>
          <tbody>
            {p.services.map((s) => (
              <Row key={s.name} service={s} range={p.view.range} />
            ))}
          </tbody>
        </table>
      </Scroll>
    </div>
  );
}

function Row({ service: s, range }: { service: Service; range: Range }) {
  const { t, f } = useI18n();
  const now = useNow();
  const red = s.red && s.red.n > 0 ? s.red : undefined;
  const traces = `/search?${searchFor([{ field: "service", op: "=", value: s.name }], range)}`;
  const errors = `/search?${searchFor(
    [
      { field: "service", op: "=", value: s.name },
      { field: "status", op: "=", value: "error" },
    ],
    range,
  )}`;
  const last = instantMs(s.lastTime);
  return (
    <tr>
      <td className={css["name"]}>
        <div>
          <Link href={traces} data-row-link="" title={t.overview.openTraces(s.name)}>
            <ServiceTag name={s.name} slot={s.slot} />
          </Link>
          {s.name.endsWith(`.${s.namespace}`) ? null : (
            <span className={css["namespace"]}>{visible(s.namespace)}</span>
          )}
        </div>
      </td>
      {red ? (
        <>
          <td className={controls["number"]} title={red.estimated ? t.overview.estimated : undefined}>
            {red.estimated ? "≈ " : ""}
            {f.number(red.rate)}
            <Delta now={red.rate} before={s.before?.rate} />
          </td>
          <td className={controls["number"]}>
            {red.errors > 0 ? (
              <Link href={errors} className={css["errors"]} title={t.overview.openErrors(s.name)}>
                {f.percent(red.errorRate)}
              </Link>
            ) : (
              <span className={controls["muted"]}>{f.percent(0)}</span>
            )}
            <Delta now={red.errorRate} before={s.before?.errorRate} />
          </td>
          <td className={controls["number"]}>{f.duration(red.p50)}</td>
          <td className={controls["number"]}>
            {f.duration(red.p95)}
            <Delta now={red.p95} before={s.before?.p95} />
          </td>
          <td className={controls["number"]}>{f.duration(red.p99)}</td>
        </>
      ) : (
        <td colSpan={5} className={css["none"]} title={t.overview.noEntryHelp}>
          {t.overview.noEntry}
        </td>
      )}
      <td>
        {red && s.spark && s.spark.length > 1 ? (
          <Sparkline
            values={s.spark}
            errors={s.sparkErrors ?? []}
            slot={s.slot}
            label={t.overview.trend(s.name, f.number(Math.min(...s.spark)), f.number(Math.max(...s.spark)))}
          />
        ) : null}
      </td>
      <td className={controls["number"]}>{f.integer(s.spans)}</td>
      <td
        className={`${controls["number"]} ${controls["muted"]}`}
        title={Number.isFinite(last) ? f.utc(last) : ""}
      >
        {Number.isFinite(last) ? f.ago(last, now) : ""}
      </td>
    </tr>
  );
}

/** The change against the hour before, left out while it is under 5 %: noise is no news. */
function Delta({ now, before }: { now: number; before: number | undefined }) {
  const { t, f } = useI18n();
  const by = change(now, before);
  if (by === undefined || Math.abs(by) < 0.05) return <span className={css["delta"]} />;
  const capped = Math.min(Math.abs(by), 99);
  const text = by > 0 ? t.overview.changeUp(f.percent(capped)) : t.overview.changeDown(f.percent(capped));
  return (
    <span className={css["delta"]} title={text}>
      <span aria-hidden="true">
        {by > 0 ? "▴" : "▾"}
        {f.percent(capped)}
      </span>
      <span className="sr-only">{text}</span>
    </span>
  );
}
