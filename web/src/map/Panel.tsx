import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useEffect, useRef } from "react";
import { Link } from "wouter";
import type { Red } from "../api/types";
import { RedCharts } from "../chart/RedCharts";
import { type Finding, workloadName } from "../doctor/api";
import { type I18n, useI18n } from "../i18n";
import type { Selection } from "../model/mapUrl";
import { servicePath } from "../model/serviceUrl";
import { type Range, rangeWindow } from "../model/time";
import { controls, ServiceTag } from "../shell/controls";
import { ErrorMark, Icon } from "../shell/Icon";
import { ErrorNotice, Loading, PartialNotice } from "../shell/states";
import {
  type Figures,
  type Flag,
  type MapEdge,
  type MapNode,
  type Missing,
  mapApi,
  type NodeKind,
} from "./api";
import { Examples } from "./Examples";
import { type Graph, isBad, redFigures, type VEdge } from "./graph";
import { drawnName, nameInId, nodeName, rateText } from "./names";
import css from "./Panel.module.css";
import { workloadId } from "./proxies";
import { edgeSearch, nodeSearch } from "./search";

interface Props {
  selection: Selection;
  graph: Graph;
  missing: readonly Missing[];
  findings: ReadonlyMap<string, Finding[]>;
  range: Range;
  onSelect: (s: Selection | undefined) => void;
  onToggle: (group: string) => void;
  onFocus: (id: string) => void;
  onRange: (from: number, to: number) => void;
  onTrace: (id: string) => void;
}

/** What is selected on the map, beside it. */
export function Panel(p: Props) {
  const i18n = useI18n();
  const { t } = i18n;
  const ref = useRef<HTMLElement>(null);
  const s = p.selection;
  const key = s.kind === "edge" ? `${s.from} ${s.to}` : s.id;
  // biome-ignore lint/correctness/useExhaustiveDependencies: another selection begins at its top
  useEffect(() => {
    ref.current?.scrollTo?.({ top: 0 });
  }, [key]);
  const close = (
    <button
      type="button"
      className={controls["icon"]}
      onClick={() => p.onSelect(undefined)}
      aria-label={t.map.closePanel}
      title={`${t.map.closePanel} (Esc)`}
    >
      <Icon name="close" />
    </button>
  );
  return (
    <aside ref={ref} className={css["panel"]} aria-label={t.map.panel} tabIndex={-1}>
      {s.kind === "edge" ? (
        <EdgePanel {...p} selection={s} close={close} />
      ) : (
        <NodePanel {...p} id={s.id} close={close} />
      )}
    </aside>
  );
}

/** Kinds that have a page of their own. */
const workloadKinds: readonly NodeKind[] = ["service", "proxy", "gateway", "waypoint"];

function NodePanel(p: Props & { id: string; close: ReactNode }) {
  const i18n = useI18n();
  const { t, f } = i18n;
  const n = p.graph.nodes.find((x) => x.id === p.id);
  const member =
    n?.members.length === 1 && n.kind !== "group"
      ? n.members[0]!
      : p.graph.members.find((m) => m.id === p.id);
  if (n?.kind === "group") return <GroupPanel {...p} />;
  if (!member)
    return (
      <Head title={nameInId(p.id, i18n)} close={p.close}>
        <p>{t.map.noCalls}</p>
      </Head>
    );
  const callers = p.graph.calls.filter((e) => e.to === member.id);
  const callees = p.graph.calls.filter((e) => e.from === member.id);
  const missing = p.missing.filter((m) => m.node === member.id && m.from === undefined);
  const findings = p.findings.get(workloadName(member.namespace, member.service)) ?? [];
  const traces = nodeSearch(member, p.range);
  return (
    <Head
      title={
        member.slot !== undefined ? (
          <ServiceTag name={nodeName(member, i18n)} slot={member.slot} />
        ) : (
          nodeName(member, i18n)
        )
      }
      under={[t.map.kind[member.kind], member.namespace].filter(Boolean).join(" · ")}
      close={p.close}
    >
      <div className={css["actions"]}>
        {workloadKinds.includes(member.kind) ? (
          <Link
            className={controls["button"]}
            href={servicePath(member.kind === "proxy" ? { ...member, kind: "service" } : member, p.range)}
          >
            {t.map.openService}
          </Link>
        ) : null}
        <button type="button" className={controls["button"]} onClick={() => p.onFocus(member.id)}>
          <Icon name="target" />
          {t.map.focusOn}
        </button>
        {traces ? (
          <Link className={controls["button"]} href={traces}>
            <Icon name="search" />
            {t.map.searchTraces}
          </Link>
        ) : null}
      </div>
      <Notes node={member} missing={missing} findings={findings} />
      {n ? (
        <FiguresTable now={n.figures} before={n.before} />
      ) : (
        <FiguresTable now={member} before={undefined} />
      )}
      {member.versions.length > 1 || (member.versions.length === 1 && member.versions[0]!.version) ? (
        <Versions node={member} />
      ) : null}
      <Neighbours title={t.map.callers} edges={callers} end="from" none={t.map.noCallers} {...p} />
      <Neighbours title={t.map.callees} edges={callees} end="to" none={t.map.noCallees} {...p} />
      <Sampling figures={member} f={f} t={t} />
    </Head>
  );
}

/** What is odd about a node, each with the reason and a way on. */
export function Notes(p: { node: MapNode; missing: readonly Missing[]; findings: readonly Finding[] }) {
  const { t } = useI18n();
  const { node: n } = p;
  const help = Object.hasOwn(t.map.kindHelp, n.kind) ? t.map.kindHelp[n.kind] : undefined;
  const inferred = n.badges.includes("inferred");
  const why = n.kind === "passthrough" || n.kind === "blackhole" || n.kind === "unknown" || inferred;
  const doctor = (
    <Link
      href={
        n.kind === "service"
          ? `/doctor?workload=${encodeURIComponent(workloadName(n.namespace, n.service))}`
          : "/doctor"
      }
    >
      {t.map.why}
    </Link>
  );
  const words = n.badges.filter((b) => b !== "inferred" && b !== "silent").map((b) => t.map.badge[b]);
  if (!help && !inferred && words.length === 0 && p.missing.length === 0 && p.findings.length === 0)
    return null;
  return (
    <ul className={css["notes"]}>
      {p.findings.map((x) => (
        <li key={x.code} data-tone={x.severity === "error" ? "error" : "warn"}>
          {x.severity === "error" ? <ErrorMark /> : <Icon name="warning" size={14} />}
          <Link href={`/doctor?finding=${x.code}`}>
            {x.code} {x.title}
          </Link>
        </li>
      ))}
      {p.missing.map((m) => (
        <li key={m.kind} data-tone="warn">
          <Icon name="warning" size={14} />
          <span>
            {t.map.missing[m.kind] ?? m.message} {doctor}
          </span>
        </li>
      ))}
      {p.missing.length === 0
        ? words.map((text) => (
            <li key={text} data-tone="warn">
              <Icon name="warning" size={14} />
              <span>{text}</span>
            </li>
          ))
        : null}
      {help ? (
        <li>
          <span>
            {help} {why && p.missing.length === 0 ? doctor : null}
          </span>
        </li>
      ) : null}
      {inferred ? (
        <li>
          <span>
            <b>{t.map.inferred}:</b> {t.map.inferredFrom[n.kind] ?? n.inferredFrom}
          </span>
        </li>
      ) : null}
    </ul>
  );
}

export function Sampling({ figures, f, t }: { figures: Figures } & I18n) {
  if (figures.n === 0) return null;
  return (
    <p className={css["fine"]}>
      {figures.estimated
        ? t.map.estimated(f.integer(figures.n), f.number(figures.deviation ?? 0))
        : t.map.counted(f.integer(figures.n))}
    </p>
  );
}

export function FiguresTable({ now, before }: { now: Figures; before: Figures | undefined }) {
  const i18n = useI18n();
  const { t, f } = i18n;
  if (now.n === 0 && !before?.n) return null;
  const rows: [string, string, string, boolean][] = [
    [t.map.calls, rateText(now, i18n), before ? rateText(before, i18n) : "", false],
    [t.map.errors, f.percent(now.errorRate), before ? f.percent(before.errorRate) : "", isBad(now)],
    [t.map.p50, f.duration(now.p50), before ? f.duration(before.p50) : "", false],
    [t.map.p95, f.duration(now.p95), before ? f.duration(before.p95) : "", false],
    [t.map.p99, f.duration(now.p99), before ? f.duration(before.p99) : "", false],
  ];
  return (
    <dl className={css["figures"]}>
      {rows.map(([name, value, was, bad]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd data-bad={bad}>
            {bad ? <ErrorMark /> : null}
            {value}
          </dd>
          {before ? (
            <dd className={css["was"]}>{before.n > 0 ? t.map.earlierValue(was) : t.map.change.new}</dd>
          ) : null}
        </div>
      ))}
    </dl>
  );
}

function Versions({ node }: { node: MapNode }) {
  const i18n = useI18n();
  const { t, f } = i18n;
  const total = node.versions.reduce((s, v) => s + v.red.weight, 0);
  return (
    <section>
      <h3>{t.map.versions}</h3>
      <table className={`${controls["table"]} ${css["small"]}`}>
        <thead>
          <tr>
            <th>{t.map.versions}</th>
            <th className={controls["number"]}>{t.map.calls}</th>
            <th className={controls["number"]}>{t.map.errors}</th>
            <th className={controls["number"]}>{t.map.p95}</th>
          </tr>
        </thead>
        <tbody>
          {node.versions.map((v) => (
            <tr key={v.version}>
              <td>
                {v.version || t.map.versionNone}{" "}
                <span className={controls["muted"]}>{total > 0 ? f.percent(v.red.weight / total) : ""}</span>
              </td>
              <td className={controls["number"]}>{rateText(redFigures(v.red), i18n)}</td>
              <td className={controls["number"]}>{f.percent(v.red.errorRate)}</td>
              <td className={controls["number"]}>{v.red.n > 0 ? f.duration(v.red.p95) : ""}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** Callers or callees, each a button that opens the calls between: so every edge is in reach of the keyboard. */
function Neighbours(
  p: Pick<Props, "graph" | "onSelect"> & {
    title: string;
    edges: readonly MapEdge[];
    end: "from" | "to";
    none: string;
  },
) {
  const i18n = useI18n();
  const { f } = i18n;
  const byId = new Map(p.graph.members.map((n) => [n.id, n]));
  const edges = [...p.edges].sort((a, b) => b.rate - a.rate);
  return (
    <section>
      <h3>
        {p.title} <span className={controls["muted"]}>{edges.length || ""}</span>
      </h3>
      {edges.length === 0 ? <p className={controls["muted"]}>{p.none}</p> : null}
      <ul className={css["list"]}>
        {edges.map((e) => (
          <li key={`${e.from} ${e.to} ${e.class}`}>
            <button
              type="button"
              onClick={() => p.onSelect({ kind: "edge", from: e.from, to: e.to, class: e.class })}
            >
              <span className={css["who"]}>
                {byId.get(e[p.end]) ? nodeName(byId.get(e[p.end])!, i18n) : nameInId(e[p.end], i18n)}
              </span>
              <span className={css["num"]}>{rateText(e, i18n)}</span>
              <span className={css["num"]} data-bad={isBad(e)}>
                {isBad(e) ? <ErrorMark /> : null}
                {f.percent(e.errorRate)}
              </span>
              <span className={css["num"]}>{e.n > 0 ? f.duration(e.p95) : ""}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

function GroupPanel(p: Props & { id: string; close: ReactNode }) {
  const i18n = useI18n();
  const { t, f } = i18n;
  const n = p.graph.nodes.find((x) => x.id === p.id)!;
  const members = [...n.members].sort((a, b) => b.rate - a.rate);
  return (
    <Head
      title={drawnName(n, i18n)}
      under={t.map.nodesInside(f.integer(n.members.length), rateText(n.figures, i18n))}
      close={p.close}
    >
      <div className={css["actions"]}>
        <button type="button" className={controls["button"]} onClick={() => p.onToggle(n.id)}>
          {t.map.openThis}
        </button>
      </div>
      <section>
        <h3>{t.map.membersShown}</h3>
        <ul className={css["list"]}>
          {members.slice(0, 200).map((m) => (
            <li key={m.id}>
              <button
                type="button"
                onClick={() => {
                  p.onToggle(n.id);
                  p.onSelect({ kind: "node", id: m.id });
                }}
              >
                <span className={css["who"]}>{nodeName(m, i18n)}</span>
                <span className={css["num"]}>{rateText(m, i18n)}</span>
                <span className={css["num"]} data-bad={isBad(m)}>
                  {isBad(m) ? <ErrorMark /> : null}
                  {f.percent(m.errorRate)}
                </span>
                <span className={css["num"]}>{m.n > 0 ? f.duration(m.p95) : ""}</span>
              </button>
            </li>
          ))}
        </ul>
      </section>
    </Head>
  );
}

function EdgePanel(p: Props & { selection: Extract<Selection, { kind: "edge" }>; close: ReactNode }) {
  const i18n = useI18n();
  const { t, f } = i18n;
  const s = p.selection;
  const drawn = p.graph.edges.find((e) => e.from === s.from && e.to === s.to && e.class === s.class);
  const sum =
    drawn &&
    (drawn.members.length > 1 || drawn.from !== drawn.members[0]!.from || drawn.to !== drawn.members[0]!.to);
  const names = new Map(p.graph.members.map((n) => [n.id, n]));
  const groupIds = new Set(p.graph.groups.map((g) => g.id));
  const title = (id: string) => {
    const v = p.graph.nodes.find((n) => n.id === id);
    if (v) return drawnName(v, i18n);
    const m = names.get(id);
    return m ? nodeName(m, i18n) : nameInId(id, i18n);
  };
  const end = (id: string) => (
    <button
      type="button"
      className={css["end"]}
      onClick={() => p.onSelect({ kind: groupIds.has(id) ? "group" : "node", id })}
    >
      {title(id)}
    </button>
  );
  const heading = (
    <>
      {end(s.from)} <span aria-hidden="true">→</span>
      <span className="sr-only">{t.map.calls}</span> {end(s.to)}
    </>
  );
  if (sum) return <SumPanel {...p} drawn={drawn} heading={heading} title={title} />;
  const edge = p.graph.calls.find((e) => e.from === s.from && e.to === s.to && e.class === s.class);
  const [from, to] = [names.get(s.from), names.get(s.to)];
  const leg = s.from !== s.to && workloadId(s.from) === workloadId(s.to);
  const under = [
    edge?.protocols.map((x) => x.toUpperCase()).join(", ") || undefined,
    s.class === "async" ? t.map.async : undefined,
    s.class === "telemetry" ? t.map.telemetryClass : undefined,
  ];
  return (
    <Head title={heading} under={under.filter(Boolean).join(" · ")} close={p.close}>
      {leg ? (
        <p className={css["fine"]}>{t.map.proxyLeg}</p>
      ) : (
        <div className={css["actions"]}>
          <Link className={controls["button"]} href={edgeSearch(s, from, to, p.range, false)}>
            <Icon name="search" />
            {t.map.searchThese}
          </Link>
          {edge && edge.errors > 0 ? (
            <Link className={controls["button"]} href={edgeSearch(s, from, to, p.range, true)}>
              <ErrorMark />
              {t.map.searchFailed}
            </Link>
          ) : null}
        </div>
      )}
      {edge ? <FiguresTable now={edge} before={drawn?.before} /> : null}
      {edge?.client && edge.server ? <Sides client={edge.client} server={edge.server} /> : null}
      {edge && !edge.client ? <p className={css["fine"]}>{t.map.seen[edge.seen]}</p> : null}
      {leg ? null : <EdgeDetailView {...p} selection={s} i18n={i18n} />}
      {edge ? <Flags flags={edge.flags} /> : null}
      <Encryption edge={edge} i18n={i18n} />
      {edge ? <Sampling figures={edge} f={f} t={t} /> : null}
    </Head>
  );
}

/** Whether the call is encrypted, and what says so. */
function Encryption({ edge, i18n: { t } }: { edge: MapEdge | undefined; i18n: I18n }) {
  if (!edge?.mtls) return null;
  return (
    <p className={css["fine"]}>
      {t.map.field.mtls}: {t.map.mtlsWord[edge.mtls]}
      {edge.mtlsSource ? ` (${edge.mtlsSource})` : edge.mtls === "unknown" ? `. ${t.map.mtlsUnknown}` : ""}
    </p>
  );
}

function EdgeDetailView(p: Props & { selection: Extract<Selection, { kind: "edge" }>; i18n: I18n }) {
  const { t } = p.i18n;
  const s = p.selection;
  const detail = useQuery({
    queryKey: ["edge", s.from, s.to, s.class, p.range],
    queryFn: ({ signal }) =>
      mapApi.edge({ ...s, from: workloadId(s.from), to: workloadId(s.to) }, rangeWindow(p.range), 40, {
        signal,
      }),
    refetchInterval: p.range.kind === "last" ? 30_000 : false,
  });
  if (detail.isPending) return <Loading rows={3} />;
  if (!detail.data) return <ErrorNotice error={detail.error} onRetry={() => detail.refetch()} />;
  return (
    <>
      <PartialNotice
        complete={detail.data.complete}
        reason={detail.data.reason}
        away={detail.data.away}
        read={detail.data.read}
      />
      <RedCharts
        series={detail.data.series}
        heights={{ rate: 104, latency: 120 }}
        onRange={p.onRange}
        onTrace={p.onTrace}
      />
      <p className={css["fine"]}>{t.map.chartHelp}</p>
      <div className={css["both"]}>
        <section>
          <h3>{t.map.slow}</h3>
          <Examples list={detail.data.slow} failed={false} />
        </section>
        <section>
          <h3>{t.map.failed}</h3>
          <Examples list={detail.data.failed} failed={true} />
        </section>
      </div>
    </>
  );
}

/** Both views of one hop; what they differ by is the way between them. */
function Sides({ client, server }: { client: Red; server: Red }) {
  const { t, f } = useI18n();
  const gap = client.p95 - server.p95;
  return (
    <section>
      <table className={`${controls["table"]} ${css["small"]}`}>
        <thead>
          <tr>
            <th>{t.map.side}</th>
            <th className={controls["number"]}>{t.map.calls}</th>
            <th className={controls["number"]}>{t.map.errors}</th>
            <th className={controls["number"]}>{t.map.p50}</th>
            <th className={controls["number"]}>{t.map.p95}</th>
          </tr>
        </thead>
        <tbody>
          {(
            [
              [t.map.sideClient, client],
              [t.map.sideServer, server],
            ] as const
          ).map(([name, red]) => (
            <tr key={name}>
              <td>{name}</td>
              <td className={controls["number"]}>{f.integer(red.weight)}</td>
              <td className={controls["number"]} data-bad={isBad(redFigures(red))}>
                {f.percent(red.errorRate)}
              </td>
              <td className={controls["number"]}>{f.duration(red.p50)}</td>
              <td className={controls["number"]}>{f.duration(red.p95)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p className={css["fine"]} title={t.map.sideHelp}>
        {gap > 0 ? t.map.sideGap(f.duration(gap)) : t.map.sideHelp}
        {Math.abs(client.errorRate - server.errorRate) > 0.005
          ? ` · ${t.map.sideErrors(f.percent(client.errorRate), f.percent(server.errorRate))}`
          : ""}
      </p>
    </section>
  );
}

export function Flags({ flags }: { flags: readonly Flag[] }) {
  const { t, f } = useI18n();
  if (flags.length === 0) return null;
  return (
    <section>
      <h3>{t.map.flags}</h3>
      <dl className={css["flags"]}>
        {flags.map((x) => {
          const meaning = (t.mesh.flag as Record<string, string>)[x.flag] ?? x.meaning;
          const cause = t.map.flagCause[x.flag] ?? x.cause;
          return (
            <div key={x.flag}>
              <dt>
                <code>{x.flag}</code>{" "}
                <span className={controls["muted"]}>{t.map.flagTimes(f.integer(x.n))}</span>
              </dt>
              {meaning ? <dd>{meaning}</dd> : null}
              {cause ? <dd className={css["cause"]}>{t.map.usualCause(cause)}</dd> : null}
            </div>
          );
        })}
      </dl>
    </section>
  );
}

/** The sum of several calls between folded groups: which ones they are. */
function SumPanel(
  p: Props & { drawn: VEdge; heading: ReactNode; title: (id: string) => string; close: ReactNode },
) {
  const i18n = useI18n();
  const { t, f } = i18n;
  const names = new Map(p.graph.members.map((n) => [n.id, n]));
  const members = [...p.drawn.members].sort((a, b) => Number(isBad(b)) - Number(isBad(a)) || b.rate - a.rate);
  return (
    <Head title={p.heading} under={t.map.sumOfCalls(f.integer(members.length))} close={p.close}>
      <FiguresTable now={p.drawn.figures} before={p.drawn.before} />
      <section>
        <h3>{t.map.calls}</h3>
        <ul className={css["list"]}>
          {members.slice(0, 200).map((e) => (
            <li key={`${e.from} ${e.to}`}>
              <button
                type="button"
                onClick={() => p.onSelect({ kind: "edge", from: e.from, to: e.to, class: e.class })}
              >
                <span className={css["who"]}>
                  {names.has(e.from) ? nodeName(names.get(e.from)!, i18n) : nameInId(e.from, i18n)} →{" "}
                  {names.has(e.to) ? nodeName(names.get(e.to)!, i18n) : nameInId(e.to, i18n)}
                </span>
                <span className={css["num"]}>{rateText(e, i18n)}</span>
                <span className={css["num"]} data-bad={isBad(e)}>
                  {isBad(e) ? <ErrorMark /> : null}
                  {f.percent(e.errorRate)}
                </span>
              </button>
            </li>
          ))}
        </ul>
      </section>
    </Head>
  );
}

function Head(p: { title: ReactNode; under?: string; close: ReactNode; children: ReactNode }) {
  return (
    <>
      <div className={css["head"]}>
        <h2>{p.title}</h2>
        {p.close}
      </div>
      {p.under ? <p className={css["under"]}>{p.under}</p> : null}
      {p.children}
    </>
  );
}
