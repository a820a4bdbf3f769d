import { useVirtualizer } from "@tanstack/react-virtual";
import { useMemo, useRef } from "react";
import { Link } from "wouter";
import type { Hop, HopEnd } from "../api/types";
import { useI18n } from "../i18n";
import { slotVar } from "../model/colour";
import { isResponseFlag, shortHost } from "../model/envoy";
import { endName, hopFits, isPartName, partKind, rowOfHop } from "../model/hops";
import { isError, mayGrow, type Trace } from "../model/trace";
import type { TraceView } from "../model/traceUrl";
import { controls, ServiceTag } from "../shell/controls";
import { ErrorMark } from "../shell/Icon";
import { Empty, ErrorNotice, Loading, PartialNotice } from "../shell/states";
import css from "./HopsView.module.css";
import { useHops } from "./source";

/** The calls of the trace one after the other: from whom to whom, where the time of each went, and what the proxies say. */
export default function HopsView(p: {
  trace: Trace;
  view: TraceView;
  setView: (change: (view: TraceView) => TraceView) => void;
  selected: number;
  onSelect: (row: number) => void;
}) {
  const { t, f } = useI18n();
  const { trace, view, setView } = p;
  const hops = useHops(trace.traceId, true, mayGrow(trace));
  const wanted = view.find.trim().toLowerCase();
  const hidden = view.hide.join("\n");
  // biome-ignore lint/correctness/useExhaustiveDependencies: the list is made anew with every parse of the URL
  const items = useMemo(() => {
    const hide = new Set(view.hide);
    return (hops.data?.items ?? []).filter(
      (h) =>
        hopFits(h, wanted) &&
        (!view.onlyErrors || h.failed || h.flags.length > 0) &&
        !(h.to.service !== undefined && hide.has(h.to.service)),
    );
  }, [hops.data, wanted, view.onlyErrors, hidden]);
  const longest = useMemo(() => items.reduce((most, h) => Math.max(most, h.duration), 1), [items]);
  const scroll = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: items.length,
    getScrollElement: () => scroll.current,
    estimateSize: (i) => 58 + (items[i]!.flags.length > 0 ? 26 * items[i]!.flags.length : 0),
    getItemKey: (i) => `${items[i]!.hop} ${rowOfHop(items[i]!)}`,
    overscan: 6,
  });

  if (hops.error) return <ErrorNotice error={hops.error} onRetry={() => hops.refetch()} />;
  if (hops.data === undefined) return <Loading rows={12} bytes={hops.bytes} />;
  return (
    <section className={css["view"]} aria-label={t.views.hops}>
      <PartialNotice complete={hops.data?.complete} reason={hops.data?.reason} away={hops.data?.away} />
      <div className={css["head"]}>
        <span>{t.hopList.count(items.length, f.integer(items.length))}</span>
        <span className={css["legend"]}>
          {(["app", "proxy", "network", "mixed"] as const).map((kind) => (
            <span key={kind}>
              <span className={css["swatch"]} data-kind={kind} aria-hidden="true" /> {t.hopList.kind[kind]}
            </span>
          ))}
        </span>
        <Link href="/help#hop" className={css["help"]}>
          {t.hopList.help}
        </Link>
      </div>
      {items.length === 0 ? (
        hops.data === null ? (
          <Empty title={t.hopList.notInFile} />
        ) : hops.data.items.length === 0 ? (
          <Empty title={t.hopList.noCalls}>
            <p>{t.hopList.noCallsHelp}</p>
          </Empty>
        ) : (
          <Empty title={t.trace.allHidden}>
            <button
              type="button"
              className={controls["button"]}
              onClick={() => setView((v) => ({ ...v, find: "", hide: [], onlyErrors: false }))}
            >
              {t.trace.showEverything}
            </button>
          </Empty>
        )
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
        <div ref={scroll} className={css["scroll"]} tabIndex={0}>
          <ol style={{ height: virtual.getTotalSize() }}>
            {virtual.getVirtualItems().map((item) => (
              <li
                key={item.key}
                ref={virtual.measureElement}
                data-index={item.index}
                aria-setsize={items.length}
                aria-posinset={item.index + 1}
                style={{ transform: `translateY(${item.start}px)` }}
              >
                <HopLine
                  trace={trace}
                  hop={items[item.index]!}
                  number={item.index + 1}
                  longest={longest}
                  selected={items[item.index]!.rows.some((r) => r.row === p.selected)}
                  onSelect={p.onSelect}
                />
              </li>
            ))}
          </ol>
        </div>
      )}
    </section>
  );
}

function HopLine(p: {
  trace: Trace;
  hop: Hop;
  number: number;
  longest: number;
  selected: boolean;
  onSelect: (row: number) => void;
}) {
  const { t, f } = useI18n();
  const { hop: h, trace } = p;
  const row = rowOfHop(h);
  const level = row >= 0 ? (trace.level[row] ?? 0) : 0;
  const from = endName(h.from) || t.hopList.client;
  const to = endName(h.to) || t.hopList.unknown;
  const request = [h.method, h.path].filter(Boolean).join(" ") || h.protocol || "";
  return (
    <div
      className={css["hop"]}
      data-on={p.selected}
      style={{ paddingInlineStart: 12 + Math.min(12, level) * 10 }}
    >
      <div className={css["line"]}>
        <span className={css["number"]}>{f.integer(p.number)}</span>
        <button
          type="button"
          className={css["open"]}
          aria-pressed={p.selected}
          onClick={() => row >= 0 && row < trace.n && p.onSelect(row)}
        >
          <End
            trace={trace}
            end={h.from}
            name={from}
            rows={h.rows.filter((r) => r.stage.startsWith("caller"))}
          />
          <span className={css["arrow"]} aria-hidden="true">
            →
          </span>
          <span className="sr-only">{t.hopList.to}</span>
          <End trace={trace} end={h.to} name={to} rows={h.rows.filter((r) => r.stage.startsWith("callee"))} />
          {h.failed ? <ErrorMark /> : null}
          <span className={css["request"]}>{request}</span>
        </button>
        <span className={css["facts"]}>
          {h.code ? <span className={h.failed ? controls["error"] : undefined}>{h.code}</span> : null}
          {h.protocol && h.protocol !== request ? <span>{h.protocol}</span> : null}
          <span title={t.hopList.mtlsHelp}>{t.hopList.mtls[h.mtls]}</span>
        </span>
        <strong className={css["duration"]}>{f.duration(h.duration)}</strong>
      </div>
      <div className={css["line"]}>
        <Parts hop={h} longest={p.longest} />
        <span className={css["where"]}>
          {h.cluster ? <ClusterText hop={h} /> : null}
          {h.missing.map((m) => (
            <span key={m} className={controls["warn"]}>
              {t.hopList.missing[m]}
            </span>
          ))}
        </span>
      </div>
      {h.attempts.length > 1 ? (
        <p className={css["attempts"]}>
          {t.hopList.attempts(h.attempts.length)}{" "}
          {h.attempts.map((a, i) => (
            <button
              key={`${a.row} ${a.start}`}
              type="button"
              className={css["attempt"]}
              onClick={() => a.row < trace.n && p.onSelect(a.row)}
              title={a.flag && isResponseFlag(a.flag) ? t.mesh.flag[a.flag] : undefined}
            >
              {a.failed ? <ErrorMark size={10} /> : null}
              {t.hopList.attempt(
                f.integer(i + 1),
                f.duration(a.duration),
                [a.flag, a.code].filter(Boolean).join(" "),
              )}
            </button>
          ))}
        </p>
      ) : null}
      {h.flags.map((flag) => (
        <p key={`${flag.row} ${flag.flag}`} className={css["flag"]}>
          <code>{flag.flag}</code> {isResponseFlag(flag.flag) ? t.mesh.flag[flag.flag] : (flag.meaning ?? "")}
          {isResponseFlag(flag.flag) && t.flagCause[flag.flag] ? (
            <span className={controls["muted"]}> {t.flagCause[flag.flag]}</span>
          ) : null}
        </p>
      ))}
    </div>
  );
}

/** A side of the call: its name, its version, and whether its application and its proxy reported it. */
function End(p: { trace: Trace; end: HopEnd; name: string; rows: Hop["rows"] }) {
  const { trace, end } = p;
  const seen = p.rows.map((r) => r.row).find((r) => r >= 0 && r < trace.n);
  const slot = seen === undefined ? -1 : (trace.services[trace.service[seen]!]?.slot ?? -1);
  const failed = p.rows.some((r) => r.row >= 0 && r.row < trace.n && isError(trace, r.row));
  return (
    <span className={css["end"]} data-failed={failed} title={end.pod ?? end.service}>
      {slot >= 0 ? (
        <ServiceTag name={p.name} slot={slot} />
      ) : (
        <span className={css["unseen"]}>
          <span className={controls["tick"]} style={{ background: slotVar(Number.NaN), opacity: 0 }} />
          {p.name}
        </span>
      )}
      {end.version && end.version !== "latest" ? (
        <span className={controls["muted"]}>{end.version}</span>
      ) : null}
    </span>
  );
}

function ClusterText({ hop }: { hop: Hop }) {
  const { t } = useI18n();
  const c = hop.cluster!;
  if (c.passthrough) return <span>{t.mesh.passthrough}</span>;
  if (c.blackhole) return <span className={controls["error"]}>{t.mesh.blackhole}</span>;
  if (!c.host) return null;
  const host = shortHost(c.host);
  const port = String(c.port ?? "");
  return (
    <span title={hop.upstream ? t.hopList.endpoint(hop.upstream) : undefined}>
      {c.subset ? t.mesh.sentToSubset(host, port, c.subset) : t.mesh.sentTo(host, port)}
    </span>
  );
}

/** Where the time of the call went, as a bar as long as the call, and in words for who does not see it. */
function Parts({ hop, longest }: { hop: Hop; longest: number }) {
  const { t, f } = useI18n();
  const sum = hop.parts.reduce((s, p) => s + p.duration, 0) || 1;
  const text = (name: string) => (isPartName(name) ? t.hopList.part[name] : name);
  const words = hop.parts.map((p) => t.hopList.partTime(text(p.name), f.duration(p.duration))).join("; ");
  return (
    <span className={css["parts"]} title={words}>
      <span className="sr-only">{words}</span>
      <span aria-hidden="true" style={{ width: `${Math.max(1, (hop.duration / longest) * 100)}%` }}>
        {hop.parts.map((p) => (
          <span key={p.name} data-kind={partKind(p.name)} style={{ width: `${(p.duration / sum) * 100}%` }} />
        ))}
      </span>
    </span>
  );
}
