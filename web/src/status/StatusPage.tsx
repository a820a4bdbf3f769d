import type { Receipts, Status } from "../api/types";
import { type I18n, useI18n } from "../i18n";
import { isLoopback } from "../model/address";
import { instantMs } from "../model/time";
import { reasons } from "../overview/Receiving";
import { controls } from "../shell/controls";
import { Icon } from "../shell/Icon";
import { useReceipts, useStatus } from "../shell/queries";
import { Scroll } from "../shell/Scroll";
import { ErrorNotice, Loading, PanelBoundary } from "../shell/states";
import { useTitle } from "../shell/title";
import { Licences } from "./Licences";
import { Bucket, Forward, Queue } from "./Outbound";
import css from "./StatusPage.module.css";
import { Hours, Load, Retention } from "./Storage";

/** What is running, and how full is it? */
export default function StatusPage() {
  const { t } = useI18n();
  useTitle(t.status.title);
  const status = useStatus();
  const receipts = useReceipts();
  return (
    <main id="main" tabIndex={-1} className={css["page"]}>
      <div className={css["head"]}>
        <h1>{t.status.title}</h1>
        <p className={controls["muted"]}>{t.status.question}</p>
      </div>
      {status.error ? (
        <ErrorNotice
          error={status.error}
          onRetry={() => status.refetch()}
          {...(status.data ? { title: t.state.stale } : {})}
        />
      ) : null}
      {status.data ? (
        <PanelBoundary>
          <div className={css["columns"]}>
            <div className={css["stack"]}>
              <Server status={status.data} />
              <Load status={status.data} />
            </div>
            <Store status={status.data} />
            <Retention status={status.data} />
            <Queue status={status.data} />
            <Bucket status={status.data} />
            <Forward status={status.data} />
          </div>
          <Hours status={status.data} />
          <ReceiverTable status={status.data} />
          <ListenerTable status={status.data} />
        </PanelBoundary>
      ) : status.isPending ? (
        <Loading rows={10} />
      ) : null}
      <PanelBoundary>
        {receipts.error ? (
          <ErrorNotice error={receipts.error} onRetry={() => receipts.refetch()} />
        ) : receipts.data ? (
          <>
            <Senders receipts={receipts.data} />
            <Rejects receipts={receipts.data} />
          </>
        ) : null}
      </PanelBoundary>
      <Licences />
    </main>
  );
}

function Server({ status: s }: { status: Status }) {
  const { t, f } = useI18n();
  return (
    <section className={css["card"]} aria-labelledby="server">
      <h2 id="server">{t.status.server}</h2>
      <dl>
        <dt>{t.status.version}</dt>
        <dd>{s.version}</dd>
        <dt>{t.status.commit}</dt>
        <dd>
          <code>{s.commit}</code>
        </dd>
        <dt>{t.status.uptime}</dt>
        <dd>{f.duration(s.uptime)}</dd>
        <dt>{t.status.serverTime}</dt>
        <dd title={f.utc(instantMs(s.now))}>{f.dateTime(instantMs(s.now))}</dd>
      </dl>
    </section>
  );
}

export function Store({ status }: { status: Status }) {
  const { t, f } = useI18n();
  const { store } = status;
  // Behind a queue are servers that others write to as well: what they hold in all is not known here.
  const elsewhere = store.queue !== undefined;
  const used = store.limitBytes ? (store.bytes ?? 0) / store.limitBytes : undefined;
  const oldest = instantMs(store.oldest);
  const now = instantMs(status.now);
  return (
    <section className={css["card"]} aria-labelledby="store">
      <h2 id="store">{t.status.store}</h2>
      {store.refusing ? (
        <p className={css["refusing"]} role="alert">
          <Icon name="warning" /> {t.status.refusing}: {store.refusing}
        </p>
      ) : null}
      <dl>
        <dt>{t.status.engine}</dt>
        <dd>{store.kind ? (t.status.engineName[store.kind] ?? store.kind) : ""}</dd>
        <dt>{elsewhere ? t.status.ownSpans : t.status.spans}</dt>
        <dd>{f.integer(store.spans ?? 0)}</dd>
        {elsewhere ? null : (
          <>
            <dt>{t.status.traces}</dt>
            <dd>{f.integer(store.traces ?? 0)}</dd>
          </>
        )}
        <dt>{t.status.memory}</dt>
        <dd>
          {used === undefined
            ? f.bytes(store.bytes ?? 0)
            : t.status.memoryOf(f.bytes(store.bytes ?? 0), f.bytes(store.limitBytes ?? 0), f.percent(used))}
          {used === undefined ? null : (
            <span className={css["track"]} aria-hidden="true">
              <span style={{ width: `${Math.min(100, used * 100)}%` }} data-full={used > 0.9} />
            </span>
          )}
        </dd>
        {store.diskBytes === undefined ? null : (
          <>
            <dt>{t.status.disk}</dt>
            <dd>{f.bytes(store.diskBytes)}</dd>
          </>
        )}
        {Number.isFinite(oldest) ? (
          <>
            <dt>{t.status.oldest}</dt>
            <dd title={f.utc(oldest)}>{f.ago(oldest, now)}</dd>
          </>
        ) : null}
        {elsewhere ? null : (
          <>
            <dt>{t.status.evicted}</dt>
            <dd>{f.integer(store.evictedTraces ?? 0)}</dd>
          </>
        )}
        {store.damaged?.length ? (
          <>
            <dt className={controls["warn"]}>{t.status.damaged}</dt>
            <dd>
              {store.damaged.map((d) => (
                <p key={d}>
                  <code>{d}</code>
                </p>
              ))}
            </dd>
          </>
        ) : null}
      </dl>
    </section>
  );
}

function counts(values: Record<string, number> | undefined, { t, f }: I18n): string {
  return reasons(values ?? {}, t.status.reason, f.integer);
}

function ReceiverTable({ status }: { status: Status }) {
  const i18n = useI18n();
  const { t, f } = i18n;
  const now = instantMs(status.now);
  return (
    <section aria-labelledby="receivers" className={css["section"]}>
      <h2 id="receivers">{t.status.receivers}</h2>
      <Scroll className={css["scroll"]} label={t.status.receivers}>
        <table className={controls["table"]}>
          <thead>
            <tr>
              <th>{t.status.colProtocol}</th>
              <th>{t.status.colAddress}</th>
              <th className={controls["number"]}>{t.status.colRate}</th>
              <th className={controls["number"]}>{t.status.colSpans}</th>
              <th>{t.status.colLast}</th>
              <th>{t.status.colRefused}</th>
              <th>{t.status.colMisused}</th>
            </tr>
          </thead>
          <tbody>
            {status.receivers.map((r) => {
              const last = instantMs(r.lastTime);
              return (
                <tr key={r.protocol}>
                  <td>{t.protocol[r.protocol] ?? r.protocol}</td>
                  <td>{r.address ? <code>{r.address}</code> : t.status.closed}</td>
                  <td className={controls["number"]}>{f.number(r.spansPerSecond)}</td>
                  <td className={controls["number"]}>{f.integer(r.spans)}</td>
                  <td title={Number.isFinite(last) ? f.utc(last) : undefined}>
                    {Number.isFinite(last) ? f.ago(last, now) : t.overview.nothingYet}
                  </td>
                  <Counted text={counts(r.refused, i18n)} bad />
                  <Counted text={counts(r.misuses, i18n)} />
                </tr>
              );
            })}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}

function Counted({ text, bad }: { text: string; bad?: boolean }) {
  const { t } = useI18n();
  if (text === "") return <td className={controls["muted"]}>{t.status.none}</td>;
  return <td className={bad ? controls["error"] : controls["warn"]}>{text}</td>;
}

function ListenerTable({ status }: { status: Status }) {
  const { t } = useI18n();
  return (
    <section aria-labelledby="listeners" className={css["section"]}>
      <h2 id="listeners">{t.status.listeners}</h2>
      <Scroll className={css["scroll"]} label={t.status.listeners}>
        <table className={controls["table"]}>
          <thead>
            <tr>
              <th>{t.status.colName}</th>
              <th>{t.status.colAddress}</th>
              <th>{t.status.colTls}</th>
              <th>{t.status.colAuth}</th>
            </tr>
          </thead>
          <tbody>
            {status.listeners.map((l) => (
              <tr key={`${l.name} ${l.address}`}>
                <td>{l.name}</td>
                <td>
                  <code>{l.address}</code>
                </td>
                <td>{l.tls ? t.status.yes : t.status.no}</td>
                <td>
                  {l.authenticated ? (
                    t.status.yes
                  ) : !isLoopback(l.address ?? "") ? (
                    <span className={css["open"]}>
                      <Icon name="warning" size={14} /> {t.status.open}
                    </span>
                  ) : (
                    t.status.no
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}

function Senders({ receipts }: { receipts: Receipts }) {
  const i18n = useI18n();
  const { t, f } = i18n;
  const items = receipts.items ?? [];
  return (
    <section aria-labelledby="senders" className={css["section"]}>
      <h2 id="senders">{t.status.senders}</h2>
      <p className={controls["muted"]}>{items.length > 0 ? t.status.sendersHelp : t.status.noSenders}</p>
      {items.length > 0 ? (
        <Scroll className={css["scroll"]} label={t.status.senders}>
          <table className={controls["table"]}>
            <thead>
              <tr>
                <th>{t.status.colWorkload}</th>
                <th>{t.status.colAddress}</th>
                <th>{t.status.colProtocol}</th>
                <th className={controls["number"]}>{t.status.colSpans}</th>
                <th className={controls["number"]}>{t.status.colRequests}</th>
                <th className={controls["number"]}>{t.status.colPerRequest}</th>
                <th>{t.status.colLast}</th>
                <th>{t.status.colRefused}</th>
                <th>{t.status.colMisused}</th>
              </tr>
            </thead>
            <tbody>
              {items.map((r) => {
                const last = instantMs(r.lastTime);
                const spoke = last > 0; // a sender whose bodies were all refused has no last span
                const named = !r.workload.startsWith("sender ");
                return (
                  <tr key={`${r.workload} ${r.sender} ${r.protocol}`}>
                    <td className={named ? undefined : controls["muted"]}>
                      {named ? r.workload : t.status.noWorkload}
                    </td>
                    <td>
                      <code>{r.sender || r.workload.replace(/^sender /, "")}</code>
                    </td>
                    <td>{t.protocol[r.protocol] ?? r.protocol}</td>
                    <td className={controls["number"]}>{f.integer(r.spans)}</td>
                    <td className={controls["number"]}>{f.integer(r.requests)}</td>
                    <td className={controls["number"]}>
                      {f.number(r.spansPerRequest ?? r.spans / Math.max(1, r.requests))}
                    </td>
                    <td title={spoke ? f.utc(last) : undefined}>
                      {spoke ? f.ago(last, Date.now()) : t.status.none}
                    </td>
                    <Counted text={counts(r.refused, i18n)} bad />
                    <Counted text={counts(r.misuses, i18n)} />
                  </tr>
                );
              })}
            </tbody>
          </table>
        </Scroll>
      ) : null}
    </section>
  );
}

function Rejects({ receipts }: { receipts: Receipts }) {
  const { t, f } = useI18n();
  const rejects = receipts.rejects ?? [];
  return (
    <section aria-labelledby="rejects" className={css["section"]}>
      <h2 id="rejects">{t.status.rejects}</h2>
      <p className={controls["muted"]}>{rejects.length > 0 ? t.status.rejectsHelp : t.status.noRejects}</p>
      {rejects.length > 0 ? (
        <Scroll className={css["scroll"]} label={t.status.rejects}>
          <table className={controls["table"]}>
            <thead>
              <tr>
                <th>{t.status.colTime}</th>
                <th>{t.status.colAddress}</th>
                <th>{t.status.colProtocol}</th>
                <th>{t.status.colReason}</th>
                <th className={controls["number"]}>{t.status.colSize}</th>
                <th>{t.status.colHead}</th>
              </tr>
            </thead>
            <tbody>
              {rejects.map((r, i) => {
                const time = instantMs(r.time);
                return (
                  // biome-ignore lint/suspicious/noArrayIndexKey: two rejects may be alike in all they say
                  <tr key={i}>
                    <td title={f.utc(time)}>{Number.isFinite(time) ? f.dateTime(time) : ""}</td>
                    <td>
                      <code>{r.sender}</code>
                    </td>
                    <td>{t.protocol[r.protocol ?? ""] ?? r.protocol}</td>
                    <td>
                      <span className={controls["error"]}>{t.status.reason[r.reason ?? ""] ?? r.reason}</span>{" "}
                      <span className={controls["muted"]}>{r.message}</span>
                    </td>
                    <td className={controls["number"]}>{r.bytes === undefined ? "" : f.bytes(r.bytes)}</td>
                    <td>
                      <code>{r.head}</code>
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </Scroll>
      ) : null}
    </section>
  );
}
