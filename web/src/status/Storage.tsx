import type { Status } from "../api/types";
import { useI18n } from "../i18n";
import { instantMs } from "../model/time";
import { controls } from "../shell/controls";
import css from "./StatusPage.module.css";

/** How long spans are held, when the disk will be full, and what questions cost: of engines with files of their own. */
export function Retention({ status }: { status: Status }) {
  const { t, f } = useI18n();
  const { segments, oldest } = status.store;
  const from = instantMs(oldest);
  const now = instantMs(status.now);
  if (!segments) return null;
  const { holdsNs = -1, fullInNs = -1 } = segments;
  return (
    <section className={css["card"]} aria-labelledby="retention">
      <h2 id="retention">{t.statusMore.retention}</h2>
      <dl>
        <dt>{t.statusMore.holds}</dt>
        <dd>{holdsNs < 0 ? t.statusMore.holdsEver : f.duration(holdsNs)}</dd>
        <dt>{t.statusMore.held}</dt>
        <dd>{Number.isFinite(from) ? f.duration(Math.max(0, now - from) * 1e6) : t.status.none}</dd>
        <dt>{t.statusMore.full}</dt>
        <dd>{fullInNs < 0 ? t.statusMore.fullNever : f.duration(fullInNs)}</dd>
        <dt>{t.statusMore.perHour}</dt>
        <dd>{f.bytes(segments.bytesPerHour ?? 0)}</dd>
        <dt>{t.statusMore.files}</dt>
        <dd>
          {f.integer(segments.files ?? 0)}{" "}
          <span className={controls["muted"]}>{f.bytes(segments.bytes ?? 0)}</span>
        </dd>
        <dt>{t.statusMore.due}</dt>
        <dd>{f.bytes(segments.dueBytes ?? 0)}</dd>
      </dl>
    </section>
  );
}

export function Load({ status }: { status: Status }) {
  const { t, f } = useI18n();
  const { segments } = status.store;
  if (!segments) return null;
  const read = segments.blocksRead ?? 0;
  const passed = segments.blocksPassed ?? 0;
  return (
    <section className={css["card"]} aria-labelledby="load">
      <h2 id="load">{t.statusMore.load}</h2>
      <dl>
        <dt>{t.statusMore.questions}</dt>
        <dd>{f.integer(segments.questions ?? 0)}</dd>
        <dt>{t.statusMore.blocksRead}</dt>
        <dd>{f.integer(read)}</dd>
        <dt>{t.statusMore.blocksPassed}</dt>
        <dd>
          {f.integer(passed)}{" "}
          {read + passed > 0 ? (
            <span className={controls["muted"]}>
              {t.statusMore.passedShare(f.percent(passed / (read + passed)))}
            </span>
          ) : null}
        </dd>
      </dl>
    </section>
  );
}

/** Bars in the chart; older hours are in the table only. */
const bars = 168;

/** How much each hour holds, as bars and as a table. */
export function Hours({ status }: { status: Status }) {
  const { t, f } = useI18n();
  const hours = (status.store.segments?.hours ?? [])
    .map((h) => ({ at: hourMs(h.hour), spans: h.spans ?? 0, bytes: h.bytes ?? 0 }))
    .filter((h) => Number.isFinite(h.at))
    .sort((a, b) => a.at - b.at);
  if (hours.length === 0) return null;
  const most = Math.max(1, ...hours.map((h) => h.bytes));
  const shown = hours.slice(-bars);
  return (
    <section aria-labelledby="hours" className={css["section"]}>
      <h2 id="hours">{t.statusMore.hours}</h2>
      <p className={controls["muted"]}>{t.statusMore.hoursHelp}</p>
      <div
        className={css["bars"]}
        role="img"
        aria-label={t.statusMore.chart(f.integer(hours.length), f.bytes(most))}
      >
        {shown.map((h) => (
          <span
            key={h.at}
            style={{ height: `${Math.max(2, (h.bytes / most) * 100)}%` }}
            title={`${f.dateTime(h.at)}: ${f.bytes(h.bytes)}, ${f.integer(h.spans)} ${t.status.spans}`}
          />
        ))}
      </div>
      <div
        className={`${css["scroll"]} ${css["short"]}`}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
        tabIndex={0}
        role="group"
        aria-labelledby="hours"
      >
        <table className={controls["table"]}>
          <thead>
            <tr>
              <th>{t.statusMore.colHour}</th>
              <th className={controls["number"]}>{t.status.colSpans}</th>
              <th className={controls["number"]}>{t.statusMore.colBytes}</th>
              <th className={controls["number"]}>{t.statusMore.perSpan}</th>
            </tr>
          </thead>
          <tbody>
            {hours.toReversed().map((h) => (
              <tr key={h.at}>
                <td title={f.utc(h.at)}>{f.dateTime(h.at)}</td>
                <td className={controls["number"]}>{f.integer(h.spans)}</td>
                <td className={controls["number"]}>{f.bytes(h.bytes)}</td>
                <td className={controls["number"]}>{h.spans > 0 ? f.number(h.bytes / h.spans) : ""}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

/** An hour as an instant in nanoseconds or as ISO text. */
function hourMs(hour: string | undefined): number {
  const ms = instantMs(hour);
  return Number.isFinite(ms) ? ms : Date.parse(hour ?? "");
}
