import { useMemo, useState } from "react";
import { Link } from "wouter";
import type { Attribute, Span } from "../api/types";
import { useI18n } from "../i18n";
import { canFilter, grouped, matches, valueText } from "../model/attributes";
import { type MeshFact, meshFacts, shortHost } from "../model/envoy";
import type { Filter } from "../model/filters";
import { defaultRange } from "../model/rangeUrl";
import { membersOf, type Rows } from "../model/rows";
import { searchFor } from "../model/searchUrl";
import { instantMs, type Range } from "../model/time";
import { flag, kindNames, mayGrow, spanId, type Trace } from "../model/trace";
import { visible } from "../model/visible";
import { controls, ServiceTag } from "../shell/controls";
import { ErrorMark, Icon } from "../shell/Icon";
import { prefs, usePrefs } from "../shell/prefs";
import { useRested } from "../shell/rested";
import { ErrorNotice, Loading } from "../shell/states";
import { useCopy } from "../shell/toast";
import css from "./Details.module.css";
import { LogLinks } from "./LogLinks";
import { markTexts } from "./marks";
import { Peers } from "./Peers";
import { Splitter } from "./Splitter";
import { useHops, useSpans } from "./source";

/** The span whose row is selected, beside the rows: its attributes come when they are asked for. */
export function Details(p: {
  trace: Trace;
  rows: Rows;
  row: number;
  /** The trace with its times as they were sent. */
  raw: Trace;
  panel: React.RefObject<HTMLElement | null>;
  onRow: (row: number) => void;
  onClose: () => void;
}) {
  const { t, f } = useI18n();
  const { panelWidth } = usePrefs();
  const { trace, row } = p;
  const shown = p.rows.hops.shownAs[row]!;
  const members = useMemo(() => membersOf(p.rows.hops, shown), [p.rows, shown]);
  const missing = (trace.flags[row]! & flag.missing) !== 0;
  // Walking through rows with the arrow keys must not ask for every one of them.
  const ids = useRested(
    missing ? "" : [...new Set(members.map((m) => spanId(trace, m)))].slice(0, 500).join(),
    90,
  );
  const spans = useSpans(trace.traceId, ids ? ids.split(",") : []);
  const span =
    spans.data?.items.find((s) => s.row === row) ??
    spans.data?.items.find((s) => s.spanId === spanId(trace, row));
  const service = trace.services[trace.service[row]!];
  const failed = (trace.flags[row]! & flag.error) !== 0;

  return (
    <>
      <Splitter
        className={css["splitter"]}
        label={t.trace.resizePanel}
        side="right"
        value={panelWidth}
        min={280}
        max={1000}
        onChange={(panelWidth) => prefs.change({ panelWidth })}
      />
      <aside
        ref={p.panel}
        tabIndex={-1}
        className={css["panel"]}
        style={{ width: panelWidth }}
        aria-label={t.details.title}
      >
        <div className={css["head"]}>
          <h2>
            {missing ? (
              t.trace.missing
            ) : (
              <>
                <ServiceTag name={service?.name ?? ""} slot={service?.slot ?? 0} />
                {failed ? (
                  <span className={css["failed"]}>
                    <ErrorMark /> {t.details.statusName.error}
                  </span>
                ) : null}
              </>
            )}
          </h2>
          <button
            type="button"
            className={controls["icon"]}
            onClick={p.onClose}
            aria-label={t.details.close}
            title={`${t.details.close} (Esc)`}
          >
            <Icon name="close" />
          </button>
        </div>
        {missing ? null : <p className={css["name"]}>{visible(trace.names[trace.name[row]!] ?? "")}</p>}
        {members.length > 1 ? <Members {...p} members={members} /> : null}
        {missing ? (
          <>
            <p className={css["text"]}>
              {t.details.placeholder} <Link href="/help#missing">{t.help}</Link>
            </p>
            <p className={css["text"]}>
              {t.details.spanId} <code>{spanId(trace, row)}</code>
            </p>
          </>
        ) : span ? (
          <SpanBody key={`${span.row}`} trace={trace} raw={p.raw} span={span} row={row} />
        ) : spans.error ? (
          <ErrorNotice error={spans.error} onRetry={() => spans.refetch()} />
        ) : spans.data && !spans.isFetching && ids.includes(spanId(trace, row)) ? (
          <p className={css["text"]}>{t.details.gone}</p>
        ) : (
          <Loading rows={8} />
        )}
        <span className="sr-only" role="status">
          {span ? `${service?.name ?? ""} ${f.duration(trace.duration[row]!)}` : ""}
        </span>
      </aside>
    </>
  );
}

/** The spans that one row stands for: the application and its proxies. */
function Members(p: { trace: Trace; members: number[]; row: number; onRow: (row: number) => void }) {
  const { t, f } = useI18n();
  const role = (r: number) => {
    if (!(p.trace.flags[r]! & flag.proxy)) return t.details.app;
    const kind = kindNames[p.trace.kind[r]!];
    return kind === "client"
      ? t.details.proxyClient
      : kind === "server"
        ? t.details.proxyServer
        : t.details.proxy;
  };
  return (
    <ul className={css["members"]} aria-label={t.details.spansOfHop}>
      {p.members.map((r) => (
        <li key={r}>
          <button type="button" aria-pressed={r === p.row} onClick={() => p.onRow(r)}>
            <span>{role(r)}</span>
            <span className={controls["muted"]}>{f.duration(p.trace.duration[r]!)}</span>
            {p.trace.flags[r]! & flag.error ? <ErrorMark size={10} /> : null}
          </button>
        </li>
      ))}
    </ul>
  );
}

function SpanBody({ trace, raw, span, row }: { trace: Trace; raw: Trace; span: Span; row: number }) {
  const { t, f } = useI18n();
  const [find, setFind] = useState("");
  const wanted = find.trim().toLowerCase();
  const marks = markTexts(trace.flags[row]!, t);
  const facts = useMemo(() => meshFacts(span.attributes), [span]);
  // Only what another part of the page has asked for already.
  const hops = useHops(trace.traceId, false, mayGrow(trace));
  const clock = hops.data?.clocks[hops.data.clockOf[row] ?? -1];
  const start = instantMs(span.start);
  const range = aroundTrace(trace);
  const fits = (list: readonly Attribute[]) => list.filter((a) => matches(a, wanted));
  const attributes = fits(span.attributes);
  const resource = fits(span.resource);
  const scope = fits(span.scope?.attributes ?? []);
  const events = span.events.filter(
    (e) =>
      wanted === "" || (e.name ?? "").toLowerCase().includes(wanted) || fits(e.attributes ?? []).length > 0,
  );
  const links = span.links.filter(
    (l) => wanted === "" || (l.traceId ?? "").includes(wanted) || fits(l.attributes ?? []).length > 0,
  );
  const nothing = attributes.length + resource.length + scope.length + events.length + links.length === 0;

  return (
    <>
      {span.statusMessage ? <p className={css["message"]}>{span.statusMessage}</p> : null}
      {marks.length > 0 ? (
        <ul className={css["marks"]}>
          {marks.map((m) => (
            <li key={m}>
              <Icon name="warning" size={12} /> {m}
            </li>
          ))}
        </ul>
      ) : null}
      {clock && clock.shift !== 0 ? (
        <p className={css["text"]}>{t.clock.span(clock.name, f.duration(Math.abs(clock.shift)))}</p>
      ) : null}
      <dl className={css["facts"]}>
        <dt>{t.details.duration}</dt>
        <dd>
          {f.duration(span.duration)}{" "}
          <span className={controls["muted"]}>
            {t.details.share(f.percent(span.duration / Math.max(1, trace.traceDuration)))}
          </span>
        </dd>
        <dt>{t.details.start}</dt>
        <dd title={f.utc(start)}>
          {f.exact(start)}{" "}
          <span className={controls["muted"]}>{t.details.startOffset(f.duration(trace.start[row]!))}</span>
        </dd>
        <dt>{t.details.kind}</dt>
        <dd>{t.details.kindName[span.kind] ?? span.kind}</dd>
        <dt>{t.details.status}</dt>
        <dd className={span.status === "error" ? controls["error"] : undefined}>
          {t.details.statusName[span.status] ?? span.status}
        </dd>
        {span.namespace ? (
          <>
            <dt>{t.details.namespace}</dt>
            <dd>{span.namespace}</dd>
          </>
        ) : null}
        <dt>{t.details.spanId}</dt>
        <dd>
          <code>{span.spanId}</code>
        </dd>
        {span.parentSpanId ? (
          <>
            <dt>{t.details.parentId}</dt>
            <dd>
              <code>{span.parentSpanId}</code>
            </dd>
          </>
        ) : null}
        {span.traceState ? (
          <>
            <dt>{t.details.traceState}</dt>
            <dd>
              <code>{span.traceState}</code>
            </dd>
          </>
        ) : null}
        {span.weight !== undefined && span.weight > 1 ? (
          <>
            <dt>{t.details.weight}</dt>
            <dd>{t.details.weightValue(f.number(span.weight))}</dd>
          </>
        ) : null}
      </dl>
      <p className={css["text"]}>
        <Link
          href={`/search?${searchFor(
            [
              { field: "service", op: "=", value: span.service },
              { field: "operation", op: "=", value: span.name },
            ],
            range,
          )}`}
        >
          {t.details.service1h}
        </Link>
      </p>

      {facts.length > 0 && wanted === "" ? (
        <section className={css["group"]}>
          <h3>{t.details.mesh}</h3>
          <ul className={css["mesh"]}>
            {facts.map((fact) => (
              <li key={JSON.stringify(fact)}>
                <MeshLine fact={fact} />
              </li>
            ))}
          </ul>
        </section>
      ) : null}

      {wanted === "" ? (
        <>
          <Peers trace={raw} row={row} />
          <LogLinks trace={raw} span={span} row={row} />
        </>
      ) : null}

      <input
        type="search"
        className={`${controls["input"]} ${css["search"]}`}
        aria-label={t.details.search}
        placeholder={t.details.search}
        value={find}
        onChange={(e) => setFind(e.target.value)}
        onKeyDown={(e) => {
          if (e.key === "Escape" && find !== "" && !e.nativeEvent.isComposing) {
            e.preventDefault();
            setFind("");
          }
        }}
      />
      {nothing ? (
        <p className={css["text"]}>{wanted ? t.details.searchNone(find) : t.details.noAttributes}</p>
      ) : null}
      {grouped(attributes).map((g) => (
        <Group key={g.group} title={t.details.group[g.group]} items={g.items} scope="span" range={range} />
      ))}
      {span.droppedAttributes ? (
        <p className={css["text"]}>{t.details.dropped(span.droppedAttributes)}</p>
      ) : null}
      {events.length > 0 ? (
        <section className={css["group"]}>
          <h3>
            {t.details.events} <span className={controls["muted"]}>{f.integer(events.length)}</span>
          </h3>
          {events.map((e, i) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: events have no identity but their order
            <div key={i} className={css["event"]}>
              <p>
                <strong>{e.name}</strong>{" "}
                <span className={controls["muted"]}>
                  {t.details.after(f.duration(Math.max(0, (instantMs(e.time) - start) * 1e6)))}
                </span>
              </p>
              <Attributes items={e.attributes ?? []} scope="event" range={range} />
            </div>
          ))}
          {span.droppedEvents ? <p>{t.details.dropped(span.droppedEvents)}</p> : null}
        </section>
      ) : null}
      {links.length > 0 ? (
        <section className={css["group"]}>
          <h3>
            {t.details.links} <span className={controls["muted"]}>{f.integer(links.length)}</span>
          </h3>
          {links.map((l, i) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: links have no identity but their order
            <div key={i} className={css["event"]}>
              <p>
                <Link
                  href={`/trace/${l.traceId}${l.spanId ? `?span=${l.spanId}` : ""}`}
                  title={t.details.openLink}
                >
                  <code>{l.traceId}</code>
                </Link>
              </p>
              <Attributes items={l.attributes ?? []} scope="link" range={range} />
            </div>
          ))}
          {span.droppedLinks ? <p>{t.details.dropped(span.droppedLinks)}</p> : null}
        </section>
      ) : null}
      {resource.length > 0 ? (
        <Group title={t.details.resource} items={resource} scope="resource" range={range} />
      ) : null}
      {span.scope?.name && wanted === "" ? (
        <section className={css["group"]}>
          <h3>{t.details.scope}</h3>
          <p>
            {span.scope.name} <span className={controls["muted"]}>{span.scope.version}</span>
          </p>
          <Attributes items={scope} scope="scope" range={range} />
        </section>
      ) : null}
    </>
  );
}

/** Where "filter by" looks: an hour up to this trace if it is older than the search's own last hour. */
function aroundTrace(trace: Trace): Range {
  const start = instantMs(trace.traceStart);
  if (!(Date.now() - start > 3600e3)) return defaultRange;
  return { kind: "between", from: Math.floor(start) - 1800e3, to: Math.ceil(start) + 1800e3 };
}

function Group(p: { title: string; items: readonly Attribute[]; scope: string; range: Range }) {
  return (
    <section className={css["group"]}>
      <h3>{p.title}</h3>
      <Attributes {...p} />
    </section>
  );
}

function Attributes(p: { items: readonly Attribute[]; scope: string; range: Range }) {
  const { t } = useI18n();
  const copy = useCopy();
  if (p.items.length === 0) return null;
  return (
    <dl className={css["attributes"]}>
      {p.items.map((a, i) => {
        const text = valueText(a);
        const filter: Filter = { field: `${p.scope}.${a.key}`, op: "=", value: text };
        return (
          // Keys may repeat: OTLP does not forbid it.
          // biome-ignore lint/suspicious/noArrayIndexKey: see above
          <div key={`${a.key} ${i}`}>
            <dt title={a.type}>{a.key}</dt>
            <dd data-type={a.type}>
              <Value text={text} />
              <span className={css["tools"]}>
                <button
                  type="button"
                  className={controls["icon"]}
                  onClick={() => copy(text)}
                  aria-label={t.details.copyValue(a.key)}
                  title={t.details.copyValue(a.key)}
                >
                  <Icon name="copy" size={14} />
                </button>
                {canFilter(a) ? (
                  <Link
                    href={`/search?${searchFor([filter], p.range)}`}
                    className={controls["icon"]}
                    aria-label={t.details.filterBy(a.key)}
                    title={t.details.filterBy(a.key)}
                  >
                    <Icon name="filter" size={14} />
                  </Link>
                ) : null}
              </span>
            </dd>
          </div>
        );
      })}
    </dl>
  );
}

/** Characters of a value that are shown at first. */
const shownLength = 2000;

/** A value may be a megabyte long: then its beginning, and the rest when it is asked for. */
function Value({ text }: { text: string }) {
  const { t, f } = useI18n();
  const [whole, setWhole] = useState(false);
  if (whole || text.length <= shownLength) return <span>{text}</span>;
  return (
    <span>
      {text.slice(0, shownLength).toWellFormed()}…{" "}
      <button type="button" className={controls["plain"]} onClick={() => setWhole(true)}>
        {t.json.whole(f.integer(text.length))}
      </button>
    </span>
  );
}

/** One fact of the proxy in words. */
function MeshLine({ fact }: { fact: MeshFact }) {
  const { t } = useI18n();
  switch (fact.kind) {
    case "flag":
      return (
        <span className={css["bad"]}>
          <Link href="/help#flags">
            <code>{fact.code}</code>
          </Link>{" "}
          {t.mesh.flag[fact.code]} <span className={controls["muted"]}>{t.flagCause[fact.code]}</span>
        </span>
      );
    case "httpStatus":
      return <span>{fact.code === "0" ? t.mesh.noAnswer : t.mesh.httpStatus(fact.code)}</span>;
    case "grpcStatus":
      return <span>{t.mesh.grpcStatus(fact.code)}</span>;
    case "retries":
      return <span>{t.mesh.retries(fact.count)}</span>;
    case "cluster": {
      const { kind, host, port, subset, name } = fact.cluster;
      if (kind === "passthrough") return <span>{t.mesh.passthrough}</span>;
      if (kind === "blackhole") return <span className={css["bad"]}>{t.mesh.blackhole}</span>;
      if (kind === "inbound" && port) return <span>{t.mesh.inbound(port)}</span>;
      if (kind === "service" && host && port) {
        return (
          <span title={name}>
            {subset
              ? t.mesh.sentToSubset(shortHost(host), port, subset)
              : t.mesh.sentTo(shortHost(host), port)}
          </span>
        );
      }
      return <span>{t.mesh.cluster(name)}</span>;
    }
    case "pod":
      return (
        <span>
          {fact.namespace
            ? t.mesh.podIn(fact.role, fact.name, fact.namespace)
            : t.mesh.pod(fact.role, fact.name)}
        </span>
      );
    case "mesh":
      return (
        <span>
          {fact.id && fact.cluster
            ? t.mesh.meshId(fact.cluster, fact.id)
            : t.mesh.clusterId(fact.cluster || fact.id)}
        </span>
      );
  }
}
