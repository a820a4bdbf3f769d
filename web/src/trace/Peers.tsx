import { useQuery } from "@tanstack/react-query";
import { api } from "../api/client";
import { useI18n } from "../i18n";
import { hasPeers, peerQuery, peerQuestions, quantile, total } from "../model/peers";
import type { Trace } from "../model/trace";
import { controls } from "../shell/controls";
import { useNow } from "../shell/now";
import css from "./Details.module.css";
import { useSource } from "./source";

/** Where this span stands among the spans of the same operation in an hour. */
export function Peers({ trace, row }: { trace: Trace; row: number }) {
  const { t, f } = useI18n();
  const source = useSource();
  // By the minute, so that walking back to a span finds its answer in the cache.
  const now = Math.floor(useNow() / 60_000) * 60_000;
  const wanted = source.key === "server" && hasPeers(trace, row);
  const q = peerQuery(trace, row, now);
  const peers = useQuery({
    queryKey: ["peers", q.filter, q.start, q.duration],
    enabled: wanted,
    staleTime: 60_000,
    retry: false,
    queryFn: async ({ signal }) => {
      const [all, faster, quantiles] = await Promise.all(
        peerQuestions(q).map((text) => api.instant(text, q.start, q.end, { signal })),
      );
      return {
        all: total(all!),
        faster: total(faster!),
        p50: quantile(quantiles!, 0.5),
        p95: quantile(quantiles!, 0.95),
        p99: quantile(quantiles!, 0.99),
      };
    },
  });
  if (!wanted) return null;
  const { data } = peers;
  const part = data && data.all > 0 ? data.faster / data.all : 0;
  return (
    <section className={css["group"]} aria-busy={peers.isPending}>
      <h3>{t.peers.title}</h3>
      {peers.error ? (
        <p className={css["text"]}>
          {t.peers.failed}{" "}
          <button type="button" className={controls["plain"]} onClick={() => peers.refetch()}>
            {t.state.retry}
          </button>
        </p>
      ) : !data ? (
        <p className={css["text"]}>
          <span className={controls["muted"]}>{t.state.loading}</span>
        </p>
      ) : data.all <= 1 ? (
        <p className={css["text"]}>{t.peers.only}</p>
      ) : (
        <div className={css["text"]} title={t.peers.window(f.time(q.start * 1000), f.time(q.end * 1000))}>
          <p>{t.peers.slower(f.percent(part), f.integer(data.all))}</p>
          <span className={css["rank"]} aria-hidden="true">
            <span style={{ left: `${part * 100}%` }} />
          </span>
          {data.p50 !== undefined && data.p95 !== undefined && data.p99 !== undefined ? (
            <p className={controls["muted"]}>
              {t.peers.quantiles(f.duration(data.p50), f.duration(data.p95), f.duration(data.p99))}
            </p>
          ) : null}
        </div>
      )}
    </section>
  );
}
