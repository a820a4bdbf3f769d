import { useQueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import { Link, Redirect, useSearch } from "wouter";
import { ApiError } from "../api/client";
import { useI18n } from "../i18n";
import { canonicalId } from "../model/ids";
import { instantMs } from "../model/time";
import { firstReal, type Trace } from "../model/trace";
import { formatTrace, fromJaegerTrace } from "../model/traceUrl";
import { lastSearchKey } from "../search/Search";
import { controls } from "../shell/controls";
import { Icon } from "../shell/Icon";
import { useNow } from "../shell/now";
import { useSkeleton, useStatus } from "../shell/queries";
import { Empty, ErrorNotice, Loading } from "../shell/states";
import { useTitle } from "../shell/title";
import css from "./TracePage.module.css";
import { TraceScreen } from "./TraceScreen";

/** Where did the time go, what failed? Links that were made for Jaeger's trace page land here too. */
export function TracePage({ id }: { id: string }) {
  const query = useSearch();
  const jaeger = useMemo(() => fromJaegerTrace(query), [query]);
  const pair = id.split("...");
  // Jaeger's and Kiali's form of a comparison.
  if (pair.length === 2) {
    const ids = new URLSearchParams({ a: pair[0] ?? "", b: pair[1] ?? "" });
    return <Redirect to={`/compare?${ids}`} replace />;
  }
  const traceId = canonicalId(id, 32);
  if (!traceId) return <BadId />;
  if (jaeger) {
    const text = formatTrace(jaeger);
    return <Redirect to={`/trace/${traceId}${text ? `?${text}` : ""}`} replace />;
  }
  return <Load key={traceId} traceId={traceId} />;
}

function Load({ traceId }: { traceId: string }) {
  const { t } = useI18n();
  const client = useQueryClient();
  const skeleton = useSkeleton(traceId);
  const trace = skeleton.data;
  useTitle(trace ? rootTitle(trace) : t.trace.title);

  const missing = skeleton.error instanceof ApiError && skeleton.error.kind === "notFound";
  return (
    // One element from loading to loaded, so that a focus that was put on it stays.
    <main id="main" tabIndex={-1} className={css["page"]}>
      {trace && trace.n > 0 ? (
        <TraceScreen
          trace={trace}
          onReload={() => skeleton.refetch()}
          staleError={skeleton.error ?? undefined}
        />
      ) : (
        <>
          <div className={css["head"]}>
            <BackLink />
            <h1>{t.trace.title}</h1>
            <code className={controls["muted"]}>{traceId}</code>
          </div>
          {missing || (trace && trace.n === 0) ? (
            <Missing onRetry={() => skeleton.refetch()} />
          ) : skeleton.error ? (
            <ErrorNotice error={skeleton.error} onRetry={() => skeleton.refetch()} />
          ) : skeleton.fetchStatus === "idle" ? (
            <Empty title={t.state.cancelled}>
              <button type="button" className={controls["button"]} onClick={() => skeleton.refetch()}>
                {t.trace.reload}
              </button>
            </Empty>
          ) : (
            <Loading
              rows={14}
              bytes={skeleton.bytes}
              onCancel={() => client.cancelQueries({ queryKey: ["trace", traceId] })}
            />
          )}
        </>
      )}
    </main>
  );
}

export function rootTitle(trace: Trace): string {
  const r = firstReal(trace);
  return `${trace.services[trace.service[r]!]?.name ?? ""} ${trace.names[trace.name[r]!] ?? ""}`.trim();
}

/** The way back: to the search this tab came from, with everything it showed. */
export function BackLink() {
  const { t } = useI18n();
  let to = "/search";
  try {
    to = sessionStorage.getItem(lastSearchKey) ?? to;
  } catch {
    // Forbidden storage: the plain search it is.
  }
  return (
    <Link href={to} className={controls["button"]} title={t.trace.back}>
      <Icon name="arrowLeft" />
      {t.app.search}
    </Link>
  );
}

function Missing({ onRetry }: { onRetry: () => void }) {
  const { t, f } = useI18n();
  const status = useStatus();
  const now = useNow();
  const oldest = instantMs(status.data?.store.oldest);
  const last = Math.max(
    ...(status.data?.receivers ?? []).map((r) => instantMs(r.lastTime)).filter(Number.isFinite),
  );
  return (
    <Empty title={t.trace.notFoundTitle}>
      <p>{t.trace.notFoundText}</p>
      <ul className={css["reasons"]}>
        {t.trace.notFoundReasons.map((reason) => (
          <li key={reason}>{reason}</li>
        ))}
      </ul>
      <p>
        <Link href="/help#sampling">{t.goHelp}</Link> · <Link href="/file">{t.file.open}</Link>
      </p>
      {Number.isFinite(oldest) ? <p>{t.trace.notFoundOldest(f.ago(oldest, now))}</p> : null}
      {Number.isFinite(last) ? <p>{t.trace.notFoundLast(f.ago(last, now))}</p> : null}
      <button type="button" className={controls["button"]} onClick={onRetry}>
        <Icon name="refresh" />
        {t.state.retry}
      </button>
    </Empty>
  );
}

function BadId() {
  const { t } = useI18n();
  useTitle(t.trace.title);
  return (
    <main id="main" tabIndex={-1} className={css["page"]}>
      <div className={css["head"]}>
        <BackLink />
        <h1>{t.trace.title}</h1>
      </div>
      <Empty title={t.trace.badId} />
    </main>
  );
}
