import type { Warning } from "../api/types";
import { type Dict, useI18n } from "../i18n";
import { shortOperation } from "../model/envoy";
import { instantMs } from "../model/time";
import { firstReal, type Trace } from "../model/trace";
import { controls, ServiceTag } from "../shell/controls";
import { ErrorMark, Icon } from "../shell/Icon";
import { useNow } from "../shell/now";
import { Popover, PopoverClose } from "../shell/Popover";
import { useCopy } from "../shell/toast";
import { Actions } from "./Actions";
import css from "./TraceHeader.module.css";
import { BackLink } from "./TracePage";
import { useComputed } from "./useComputed";

/** Root, id and the figures of the whole trace. */
export function TraceHeader({ trace, onRow }: { trace: Trace; onRow: (row: number) => void }) {
  const { t, f } = useI18n();
  const copy = useCopy();
  const now = useNow();
  const root = firstReal(trace);
  const service = trace.services[trace.service[root]!];
  const start = instantMs(trace.traceStart);
  const gaps = useComputed(trace, "gaps")?.time ?? 0;
  return (
    <header className={css["header"]}>
      <div className={css["title"]}>
        <BackLink />
        <h1>
          <ServiceTag name={service?.name ?? ""} slot={service?.slot ?? 0} />{" "}
          <span className={css["operation"]} title={trace.names[trace.name[root]!]}>
            {shortOperation(trace.names[trace.name[root]!] ?? "")}
          </span>
        </h1>
        <button
          type="button"
          className={css["id"]}
          onClick={() => copy(trace.traceId)}
          aria-label={`${t.trace.copyId} ${trace.traceId}`}
          title={t.trace.copyId}
        >
          <code>{trace.traceId}</code>
          <Icon name="copy" size={14} />
        </button>
      </div>
      <div className={css["line"]}>
        <dl className={css["figures"]}>
          <Figure name={t.trace.duration}>
            <strong>{f.duration(trace.traceDuration)}</strong>
          </Figure>
          <Figure name={t.trace.spans}>{f.integer(trace.spanCount)}</Figure>
          <Figure name={t.trace.services}>{f.integer(trace.services.length)}</Figure>
          <Figure name={t.trace.errors}>
            {trace.errorCount > 0 ? (
              <span className={css["errors"]}>
                <ErrorMark /> {f.integer(trace.errorCount)}
              </span>
            ) : (
              "0"
            )}
          </Figure>
          <Figure name={t.trace.depth}>{f.integer(trace.depth)}</Figure>
          {gaps > trace.traceDuration * 0.01 ? (
            <Figure name={t.trace.gaps} help={t.trace.gapsHelp}>
              {f.duration(gaps)}
            </Figure>
          ) : null}
          <Figure name={t.trace.start} help={f.utc(start)}>
            {f.exact(start)} <span className={controls["muted"]}>{f.ago(start, now)}</span>
          </Figure>
        </dl>
        {trace.warnings.length > 0 ? (
          <Popover
            label={t.trace.warnings}
            button={
              <button type="button" className={css["warnings"]}>
                <Icon name="warning" size={14} />
                {t.trace.warningCount(trace.warnings.length, f.integer(trace.warnings.length))}
              </button>
            }
          >
            <Warnings trace={trace} onRow={onRow} />
          </Popover>
        ) : null}
        <Actions trace={trace} />
      </div>
    </header>
  );
}

function Figure(p: { name: string; help?: string; children: React.ReactNode }) {
  return (
    <div title={p.help}>
      <dt>{p.name}</dt>
      <dd>{p.children}</dd>
    </div>
  );
}

function warningText(w: Warning, t: Dict): string {
  const text = t.trace.warning[w.kind];
  // A kind that a newer server knows: its own words are better than none.
  return text ? text(w.count ?? w.rows.length) : w.message;
}

function Warnings({ trace, onRow }: { trace: Trace; onRow: (row: number) => void }) {
  const { t, f } = useI18n();
  return (
    <ul className={css["list"]}>
      {trace.warnings.map((w) => (
        <li key={w.kind}>
          <p>{warningText(w, t)}</p>
          <p>
            {w.rows
              .filter((r) => r >= 0 && r < trace.n)
              .slice(0, 12)
              .map((r) => (
                <PopoverClose key={r} asChild>
                  <button
                    type="button"
                    className={css["row"]}
                    aria-label={`${t.trace.goToRow} ${f.integer(r + 1)}`}
                    title={t.trace.goToRow}
                    // After the popover has given the focus back to its button.
                    onClick={() => setTimeout(() => onRow(r))}
                  >
                    {f.integer(r + 1)}
                  </button>
                </PopoverClose>
              ))}
            {w.rows.length > 12 ? (
              <span className={controls["muted"]}>
                {t.trace.rowsCut(f.integer(12), f.integer(w.count ?? w.rows.length))}
              </span>
            ) : null}
          </p>
        </li>
      ))}
    </ul>
  );
}
