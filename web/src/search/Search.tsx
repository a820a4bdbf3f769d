import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo } from "react";
import { Redirect, useLocation, useSearch } from "wouter";
import { ApiError } from "../api/client";
import type { TraceSummary } from "../api/types";
import { useI18n } from "../i18n";
import { type Filter, formatFilters, withFilter } from "../model/filters";
import {
  filtersOf,
  formatSearch,
  fromJaegerLink,
  limits,
  parseSearch,
  type SearchView,
  type Sort,
  sorts,
} from "../model/searchUrl";
import { lastMs } from "../model/time";
import { controls } from "../shell/controls";
import { Icon } from "../shell/Icon";
import { useTraceSearch } from "../shell/queries";
import { RangePicker } from "../shell/RangePicker";
import { Empty, ErrorNotice, Loading, PanelBoundary, PartialNotice } from "../shell/states";
import { useTitle } from "../shell/title";
import { useUrlState } from "../shell/url";
import { FilterBar } from "./FilterBar";
import { NoTraces } from "./NoTraces";
import { Results } from "./Results";
import css from "./Search.module.css";
import { sortTraces } from "./sort";

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
  const filters = useMemo(() => filtersOf(view), [view]);
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
      query: formatFilters(filters.ok ? withFilter(filters.value, filter) : [filter]),
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
      </div>
      <PanelBoundary>
        {filters.ok ? <Found view={view} filters={filters.value} change={change} /> : null}
      </PanelBoundary>
    </main>
  );
}

function Found(p: { view: SearchView; filters: Filter[]; change: (part: Partial<SearchView>) => void }) {
  const { t, f } = useI18n();
  const { view } = p;
  const client = useQueryClient();
  const search = useTraceSearch(p.filters, view.range, view.limit);
  const pages = search.data?.pages;
  const loaded = useMemo(() => unique(pages?.flatMap((page) => page.items) ?? []), [pages]);
  const traces = useMemo(() => sortTraces(loaded, view.sort), [loaded, view.sort]);
  const last = pages?.at(-1);
  const partial = pages?.find((page) => page.complete === false);
  const expired = search.error instanceof ApiError && search.error.kind === "expired";
  const again = () => client.resetQueries({ queryKey: ["search"] });

  return (
    <section className={css["found"]} aria-label={t.search.results}>
      <div className={css["bar"]}>
        <h2 aria-live="polite">
          {pages
            ? last?.next
              ? t.search.resultsMore(loaded.length, f.integer(loaded.length))
              : t.search.resultsCount(loaded.length, f.integer(loaded.length))
            : t.search.results}
        </h2>
        <label>
          <span>{t.search.sort}</span>{" "}
          <select
            className={controls["select"]}
            value={view.sort}
            title={view.sort !== "newest" && last?.next ? t.search.sortLoadedOnly : undefined}
            onChange={(e) => p.change({ sort: e.target.value as Sort })}
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
            onChange={(e) => p.change({ limit: Number(e.target.value) })}
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
        <button
          type="button"
          className={controls["button"]}
          onClick={again}
          aria-label={t.app.refresh}
          title={t.app.refresh}
        >
          <Icon name="refresh" />
        </button>
      </div>
      {view.sort !== "newest" && last?.next ? <p className={css["hint"]}>{t.search.sortLoadedOnly}</p> : null}
      <PartialNotice complete={partial ? false : undefined} reason={partial?.reason} read={partial?.read} />
      {search.error && !expired ? (
        <ErrorNotice
          error={search.error}
          onRetry={() => (pages ? search.fetchNextPage() : search.refetch())}
          {...(search.error instanceof ApiError && search.error.kind === "unsupported"
            ? { title: t.search.unsupported }
            : {})}
        />
      ) : null}
      {traces.length > 0 ? (
        <Results
          traces={traces}
          busy={search.isPlaceholderData}
          foot={
            expired ? (
              <p>
                {t.search.expired}{" "}
                <button type="button" className={controls["button"]} onClick={again}>
                  {t.search.again}
                </button>
              </p>
            ) : search.hasNextPage ? (
              <button
                type="button"
                className={controls["button"]}
                disabled={search.isFetchingNextPage}
                onClick={() => search.fetchNextPage()}
              >
                {search.isFetchingNextPage ? t.state.loading : t.search.more}
              </button>
            ) : (
              <p className={controls["muted"]}>{t.search.end}</p>
            )
          }
        />
      ) : pages && !search.isFetching ? (
        <NoTraces view={view} filters={p.filters} change={p.change} />
      ) : search.isPending && search.fetchStatus === "idle" ? (
        <Empty title={t.state.cancelled}>
          <button type="button" className={controls["button"]} onClick={() => search.refetch()}>
            {t.search.again}
          </button>
        </Empty>
      ) : search.isFetching ? (
        <Loading rows={10} onCancel={() => client.cancelQueries({ queryKey: ["search"] })} />
      ) : null}
    </section>
  );
}

/** A trace that got new spans while pages were loaded may come twice; the first stands. */
function unique(traces: readonly TraceSummary[]): TraceSummary[] {
  const seen = new Set<string>();
  return traces.filter((x) => !seen.has(x.traceId) && seen.add(x.traceId));
}
