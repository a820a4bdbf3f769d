import { useEffect, useMemo, useRef } from "react";
import { Redirect, useLocation, useSearch } from "wouter";
import { ApiError } from "../api/client";
import { useI18n } from "../i18n";
import { type Filter, formatFilters, withFilter } from "../model/filters";
import {
  formatSearch,
  fromJaegerLink,
  limits,
  parseSearch,
  questionOf,
  type SearchView,
  type Sort,
  sorts,
} from "../model/searchUrl";
import { lastMs, type Range } from "../model/time";
import { narrowed, type Question } from "../model/traceql";
import { controls } from "../shell/controls";
import { Icon } from "../shell/Icon";
import { usePrefs } from "../shell/prefs";
import { RangePicker } from "../shell/RangePicker";
import { ErrorNotice, Loading, PanelBoundary, PartialNotice } from "../shell/states";
import { useTitle } from "../shell/title";
import { useUrlState } from "../shell/url";
import { ApartPanel } from "./ApartPanel";
import { ExportMenu } from "./ExportMenu";
import { FilterBar } from "./FilterBar";
import { HeatPanel } from "./HeatPanel";
import { NoTraces } from "./NoTraces";
import { Results } from "./Results";
import css from "./Search.module.css";
import { remember, SearchesMenu, searchText } from "./SearchesMenu";
import { sortTraces } from "./sort";
import { useHeatmap } from "./useHeatmap";
import { useTraceStream } from "./useTraceStream";

const codec = { parse: parseSearch, format: formatSearch };

/** Where "back to search" leads from a trace: the last search of this tab. */
export const lastSearchKey = "spanloom.lastSearch";

/** Which traces? Links that were made for Jaeger's search land here too and are translated first. */
export function Search() {
  const query = useSearch();
  const link = useMemo(() => fromJaegerLink(query), [query]);
  if (link?.kind === "trace") return <Redirect to={`/trace/${link.traceId}`} replace />;
  if (link) return <Redirect to={`/search?${formatSearch(link.view)}`} replace />;
  return <SearchPage />;
}

function SearchPage() {
  const { t } = useI18n();
  const [view, setView] = useUrlState(codec);
  const [path] = useLocation();
  const query = useSearch();
  const question = useMemo(() => questionOf(view), [view]);
  useTitle(view.query ? `${view.query} · ${t.search.title}` : t.search.title);
  useEffect(() => {
    try {
      sessionStorage.setItem(lastSearchKey, query ? `${path}?${query}` : path);
    } catch {
      // Without storage the way back is the plain search.
    }
  }, [path, query]);

  const change = (part: Partial<SearchView>) => setView((v) => ({ ...v, ...part }), "push");
  // A request is rarely within the last minutes: its id is asked for over a day at least.
  const findRequest = (filter: Filter) =>
    change({
      query: formatFilters(withFilter((question.ok && question.value.filters) || [], filter)),
      ...(view.range.kind === "last" && lastMs(view.range.last) < 86400e3
        ? { range: { kind: "last", last: "24h" } }
        : {}),
    });

  return (
    <main id="main" tabIndex={-1} className={css["page"]}>
      <h1 className="sr-only">{t.search.title}</h1>
      <div className={css["top"]}>
        <FilterBar
          query={view.query}
          range={view.range}
          onChange={(q) => change({ query: q })}
          onRequest={findRequest}
        />
        <RangePicker range={view.range} onChange={(range) => change({ range })} />
        <SearchesMenu view={view} />
      </div>
      <PanelBoundary>
        {question.ok ? <Found view={view} question={question.value} change={change} /> : null}
      </PanelBoundary>
    </main>
  );
}

type Change = (part: Partial<SearchView>) => void;

function Found(p: { view: SearchView; question: Question; change: Change }) {
  const { view, question } = p;
  const { heatmap } = usePrefs();
  const heat = useHeatmap(question, view.range, heatmap || view.apart?.kind === "slow");
  const narrow = (more: readonly Filter[], range?: Range): boolean => {
    // Where nothing was asked, only root spans were counted, and the list must mean the same.
    const roots: Filter[] =
      heat.data?.of === "roots" && more.length > 0 ? [{ field: "root", op: "=", value: "true" }] : [];
    const query = more.length > 0 ? narrowed(question, [...roots, ...more]) : view.query;
    if (query === undefined) return false;
    p.change({ query, apart: undefined, ...(range ? { range } : {}) });
    return true;
  };
  return (
    <>
      <PanelBoundary>
        <HeatPanel
          heat={heat.data}
          busy={heat.isFetching}
          error={heat.error}
          onRetry={() => heat.refetch()}
          onNarrow={narrow}
          onApart={(apart) => p.change({ apart })}
        />
      </PanelBoundary>
      <div className={css["columns"]}>
        <List {...p} />
        {view.apart ? (
          <PanelBoundary>
            <ApartPanel
              question={question}
              range={view.range}
              apart={view.apart}
              heat={heat.data}
              onApart={(apart) => p.change({ apart })}
              onFilter={(filter) => narrow([filter])}
            />
          </PanelBoundary>
        ) : null}
      </div>
    </>
  );
}

function List({ view, question, change }: { view: SearchView; question: Question; change: Change }) {
  const { t, f } = useI18n();
  const search = useTraceStream(question, view.range, view.limit);
  const { found } = search;
  const loaded = found?.traces;
  const traces = useMemo(() => sortTraces(loaded ?? [], view.sort), [loaded, view.sort]);
  const expired = search.error instanceof ApiError && search.error.kind === "expired";
  const more = found?.next !== undefined;
  const running = search.fetching && !search.stale;
  const kept = useRef("");
  const text = searchText(view);
  useEffect(() => {
    // A search counts as made when it is answered, once.
    if (!found?.ended || search.stale || kept.current === text) return;
    kept.current = text;
    remember(view);
  }, [found, search.stale, text, view]);

  return (
    <section className={css["found"]} aria-label={t.search.results}>
      <div className={css["bar"]}>
        <h2 aria-live="polite">
          {!loaded
            ? t.search.results
            : running && !found.ended
              ? t.found.running(loaded.length, f.integer(loaded.length))
              : more
                ? t.search.resultsMore(loaded.length, f.integer(loaded.length))
                : t.search.resultsCount(loaded.length, f.integer(loaded.length))}
        </h2>
        {running && (found?.read.of ?? 0) > 0 ? (
          <span className={controls["muted"]}>
            {t.found.blocks(f.integer(found?.read.blocks ?? 0), f.integer(found?.read.of ?? 0))}
          </span>
        ) : null}
        {running ? (
          <button type="button" className={controls["button"]} onClick={search.stop}>
            {t.found.stop}
          </button>
        ) : null}
        <span className={css["gap"]} />
        <label>
          <span>{t.search.sort}</span>{" "}
          <select
            className={controls["select"]}
            value={view.sort}
            title={view.sort !== "newest" && more ? t.search.sortLoadedOnly : undefined}
            onChange={(e) => change({ sort: e.target.value as Sort })}
          >
            {sorts.map((s) => (
              <option key={s} value={s}>
                {
                  {
                    newest: t.search.sortNewest,
                    longest: t.search.sortLongest,
                    errors: t.search.sortErrors,
                    spans: t.search.sortSpans,
                  }[s]
                }
              </option>
            ))}
          </select>
        </label>
        <label>
          <span>{t.search.limit}</span>{" "}
          <select
            className={controls["select"]}
            value={view.limit}
            onChange={(e) => change({ limit: Number(e.target.value) })}
          >
            {[...new Set([...limits, view.limit])]
              .sort((a, b) => a - b)
              .map((n) => (
                <option key={n} value={n}>
                  {n}
                </option>
              ))}
          </select>
        </label>
        <ExportMenu
          traces={traces}
          search={text}
          complete={found?.ended === true && !more && found.complete}
        />
        <button
          type="button"
          className={controls["button"]}
          onClick={search.again}
          aria-label={t.app.refresh}
          title={t.app.refresh}
        >
          <Icon name="refresh" />
        </button>
      </div>
      {view.sort !== "newest" && more ? <p className={css["hint"]}>{t.search.sortLoadedOnly}</p> : null}
      <PartialNotice
        complete={found?.ended && !found.complete ? false : undefined}
        reason={found?.reason}
        away={found?.away}
        read={found?.read}
      />
      {found?.stopped ? <PartialNotice complete={false} reason={t.found.stopped} read={found.read} /> : null}
      {search.error && !expired ? (
        <ErrorNotice
          error={search.error}
          onRetry={() => (found?.ended ? search.more() : search.again())}
          {...(search.error instanceof ApiError && search.error.kind === "unsupported"
            ? { title: t.search.unsupported }
            : {})}
        />
      ) : null}
      {traces.length > 0 ? (
        <Results
          traces={traces}
          busy={search.stale}
          foot={
            expired || found?.stopped ? (
              <p>
                {expired ? `${t.search.expired} ` : null}
                <button type="button" className={controls["button"]} onClick={search.again}>
                  {t.search.again}
                </button>
              </p>
            ) : more || search.paging ? (
              <button
                type="button"
                className={controls["button"]}
                disabled={search.fetching}
                onClick={search.more}
              >
                {search.paging ? t.state.loading : t.search.more}
              </button>
            ) : found?.ended ? (
              <p className={controls["muted"]}>{t.search.end}</p>
            ) : null
          }
        />
      ) : search.fetching ? (
        <Loading rows={10} onCancel={search.stop} />
      ) : found?.stopped ? (
        <button type="button" className={controls["button"]} onClick={search.again}>
          {t.search.again}
        </button>
      ) : found?.ended ? (
        <NoTraces view={view} question={question} change={change} />
      ) : null}
    </section>
  );
}
