import { Fragment, type ReactNode } from "react";
import type { ForwardTarget, Status } from "../api/types";
import { useI18n } from "../i18n";
import { instantMs } from "../model/time";
import { controls } from "../shell/controls";
import { Icon } from "../shell/Icon";
import css from "./StatusPage.module.css";

/** A card's rows; one without a value is left out. */
function Rows({ rows }: { rows: [label: string, value: ReactNode | undefined][] }) {
  return (
    <dl>
      {rows.map(([label, value]) =>
        value === undefined ? null : (
          <Fragment key={label}>
            <dt>{label}</dt>
            <dd>{value}</dd>
          </Fragment>
        ),
      )}
    </dl>
  );
}

/** What does not work at the moment, in the server's words; nothing where all does. */
function Failing({ title, text }: { title: string; text: string | undefined }) {
  return text ? (
    <p className={css["refusing"]} role="alert">
      <Icon name="warning" />
      <span>
        {title}: {text}
      </span>
    </p>
  ) : null;
}

function useWords({ now }: Status) {
  const { t, f } = useI18n();
  const at = instantMs(now);
  return {
    count: (n = 0) => f.integer(n),
    /** For rows about what should not happen. */
    some: (n = 0) => (n > 0 ? f.integer(n) : undefined),
    /** A number, and muted what belongs to it. */
    more: (n = 0, text = "") => (
      <>
        {f.integer(n)} {text ? <span className={controls["muted"]}>{text}</span> : null}
      </>
    ),
    code: (text: string | undefined) => (text ? <code>{text}</code> : undefined),
    disk: ({ bytes = 0, limitBytes = 0 }: { bytes?: number; limitBytes?: number }) =>
      limitBytes > 0 ? t.queue.diskOf(f.bytes(bytes), f.bytes(limitBytes)) : f.bytes(bytes),
    age: (from: string | undefined) => {
      const ms = instantMs(from);
      return Number.isFinite(ms) ? f.duration(Math.max(0, at - ms) * 1e6) : t.status.none;
    },
    ago: (from: string | undefined) => {
      const ms = instantMs(from);
      return Number.isFinite(ms) ? <span title={f.utc(ms)}>{f.ago(ms, at)}</span> : t.status.none;
    },
  };
}

/** What waits in this process before a remote engine. */
export function Queue({ status }: { status: Status }) {
  const { t } = useI18n();
  const w = useWords(status);
  const { queue } = status.store;
  if (!queue) return null;
  const { hiddenSpans = 0 } = queue;
  return (
    <section className={css["card"]} aria-labelledby="queue">
      <h2 id="queue">{t.queue.title}</h2>
      <p className={controls["muted"]}>{t.queue.help}</p>
      <Failing title={t.queue.failing} text={queue.lastError} />
      <Rows
        rows={[
          [t.queue.waiting, w.more(queue.spans, hiddenSpans > 0 ? t.queue.hidden(w.count(hiddenSpans)) : "")],
          [t.queue.oldest, w.age(queue.oldest)],
          [t.queue.disk, w.disk(queue)],
          [t.queue.sent, w.count(queue.sentSpans)],
          [t.queue.failures, w.count(queue.failures)],
          [t.queue.poison, w.some(queue.poisonSpans)],
          [t.queue.poisonFile, w.code(queue.poisonFile)],
          [t.queue.unreadable, w.some(queue.unreadableSpans)],
        ]}
      />
    </section>
  );
}

/** What is in object storage, and how far that is behind. */
export function Bucket({ status }: { status: Status }) {
  const { t, f } = useI18n();
  const w = useWords(status);
  const { bucket: b } = status.store;
  if (!b) return null;
  const writes = !b.readOnly;
  return (
    <section className={css["card"]} aria-labelledby="bucket">
      <h2 id="bucket">{t.bucket.title}</h2>
      <p className={controls["muted"]}>{writes ? t.bucket.help : t.bucket.helpReader}</p>
      <Failing title={t.bucket.lost} text={b.lost} />
      <Failing title={t.bucket.failing} text={b.lost ? undefined : b.lastError} />
      <Rows
        rows={[
          [t.bucket.address, w.code(b.address)],
          [t.bucket.files, w.more(b.segments, f.bytes(b.bytes ?? 0))],
          [t.bucket.far, writes ? w.count(b.farSegments) : undefined],
          [t.bucket.waiting, writes ? w.more(b.waitingSegments, f.bytes(b.waitingBytes ?? 0)) : undefined],
          [t.bucket.since, writes ? w.age(b.since) : undefined],
          [t.bucket.uploads, writes ? w.count(b.uploads) : undefined],
          [t.bucket.failures, w.count(b.failures)],
          [writes ? t.bucket.written : t.bucket.checked, w.ago(b.checkedAt)],
          [t.bucket.cache, f.bytes(b.cacheBytes ?? 0)],
          [t.bucket.hits, w.count(b.cacheHits)],
          [t.bucket.fetches, w.more(b.fetches, f.bytes(b.fetchedBytes ?? 0))],
        ]}
      />
    </section>
  );
}

/** What waits for other backends, and what became of the copies. */
export function Forward({ status }: { status: Status }) {
  const { t } = useI18n();
  const w = useWords(status);
  const { forward } = status;
  if (!forward) return null;
  return (
    <section className={css["card"]} aria-labelledby="forward">
      <h2 id="forward">{t.forward.title}</h2>
      <p className={controls["muted"]}>{t.forward.help}</p>
      <Rows
        rows={[
          [t.queue.disk, w.disk(forward)],
          [
            t.forward.damaged,
            forward.damaged?.length
              ? forward.damaged.map((d) => (
                  <p key={d}>
                    <code>{d}</code>
                  </p>
                ))
              : undefined,
          ],
        ]}
      />
      {forward.targets?.map((target) => (
        <Target key={target.name} target={target} status={status} />
      ))}
    </section>
  );
}

function Target({ target, status }: { target: ForwardTarget; status: Status }) {
  const { t } = useI18n();
  const w = useWords(status);
  return (
    <>
      <h3 className={css["target"]}>
        {target.name} <code className={controls["muted"]}>{target.address}</code>
      </h3>
      <Failing title={t.forward.failing} text={target.lastError} />
      <Rows
        rows={[
          [t.queue.waiting, w.count(target.spans)],
          [t.queue.oldest, w.age(target.oldest)],
          [t.queue.sent, w.count(target.sentSpans)],
          [t.queue.failures, w.count(target.failures)],
          [t.forward.refused, w.some(target.refusedSpans)],
          [t.forward.lastRefusal, target.lastRefusal || undefined],
          [t.forward.dropped, w.some(target.droppedSpans)],
          [t.forward.unreadable, w.some(target.unreadableSpans)],
        ]}
      />
    </>
  );
}
