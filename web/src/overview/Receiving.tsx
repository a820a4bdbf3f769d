import { Link } from "wouter";
import type { Receiver, Status } from "../api/types";
import { useI18n } from "../i18n";
import { instantMs } from "../model/time";
import { Icon } from "../shell/Icon";
import { useStatus } from "../shell/queries";
import { ErrorNotice, Loading } from "../shell/states";
import css from "./Receiving.module.css";

/** The receiving strip: what arrives by which protocol, how old the last span is, what was refused and why. */
export function Receiving() {
  const { t } = useI18n();
  const status = useStatus();
  return (
    <section aria-label={t.overview.receiving} className={css["strip"]}>
      {status.error ? (
        <ErrorNotice
          error={status.error}
          onRetry={() => status.refetch()}
          {...(status.data ? { title: t.state.stale } : {})}
        />
      ) : null}
      {status.data ? <Cells status={status.data} /> : status.isPending ? <Loading rows={2} /> : null}
    </section>
  );
}

function Cells({ status }: { status: Status }) {
  const { t, f } = useI18n();
  // The server's own clock, so that a wrong clock in the browser does not make spans look old.
  const now = instantMs(status.now);
  const { store } = status;
  return (
    <>
      {status.receivers.map((r) => (
        <Cell key={r.protocol} receiver={r} now={now} />
      ))}
      <div className={css["cell"]}>
        <div className={css["label"]}>{t.status.store}</div>
        <div className={css["figure"]}>
          {f.integer(store.spans ?? 0)} <span className={css["unit"]}>{t.overview.spansKept}</span>
        </div>
        {store.refusing ? (
          <Link href="/status" className={`${css["note"]} ${css["bad"]}`} title={store.refusing}>
            <Icon name="warning" size={14} />
            {t.overview.storeFull}
          </Link>
        ) : (
          <div className={css["note"]}>
            {store.limitBytes
              ? t.status.memoryOf(
                  f.bytes(store.bytes ?? 0),
                  f.bytes(store.limitBytes),
                  f.percent((store.bytes ?? 0) / store.limitBytes),
                )
              : t.overview.storeLine(f.integer(store.spans ?? 0), f.integer(store.traces ?? 0))}
          </div>
        )}
      </div>
    </>
  );
}

function Cell({ receiver: r, now }: { receiver: Receiver; now: number }) {
  const { t, f } = useI18n();
  const last = instantMs(r.lastTime);
  const refused = sum(r.refused);
  const misused = sum(r.misuses ?? {});
  return (
    <div className={css["cell"]}>
      <div className={css["label"]}>
        {t.protocol[r.protocol] ?? r.protocol}{" "}
        <span className={css["address"]}>{r.address || t.status.closed}</span>
      </div>
      <div className={css["figure"]}>
        {f.number(r.spansPerSecond)} <span className={css["unit"]}>{t.overview.perSecond}</span>
      </div>
      <div className={css["note"]} title={Number.isFinite(last) ? f.utc(last) : undefined}>
        {Number.isFinite(last) ? t.overview.lastSpan(f.ago(last, now)) : t.overview.nothingYet}
      </div>
      {refused > 0 ? (
        <Link
          href="/status"
          className={`${css["note"]} ${css["bad"]}`}
          title={reasons(r.refused, t.status.reason, f.integer)}
        >
          <Icon name="warning" size={14} />
          {t.overview.refusedCount(refused, f.integer(refused))}
        </Link>
      ) : misused > 0 ? (
        <Link
          href="/status"
          className={`${css["note"]} ${css["odd"]}`}
          title={reasons(r.misuses ?? {}, t.status.reason, f.integer)}
        >
          {t.overview.misused(f.integer(misused))}
        </Link>
      ) : null}
    </div>
  );
}

export function sum(counts: Record<string, number>): number {
  return Object.values(counts).reduce((a, b) => a + b, 0);
}

/** "invalid id 3, too large 1", largest first. */
export function reasons(
  counts: Record<string, number>,
  names: Record<string, string>,
  integer: (n: number) => string,
): string {
  return Object.entries(counts)
    .filter(([, n]) => n > 0)
    .sort((a, b) => b[1] - a[1])
    .map(([reason, n]) => `${names[reason] ?? reason} ${integer(n)}`)
    .join(", ");
}
