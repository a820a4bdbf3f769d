import { useQuery } from "@tanstack/react-query";
import { useCallback, useMemo, useState } from "react";
import { Link, useLocation } from "wouter";
import { ApiError } from "../api/client";
import { RedCharts } from "../chart/RedCharts";
import { type Finding, findingsByWorkload, useDoctor, workloadName } from "../doctor/api";
import { type I18n, useI18n } from "../i18n";
import { type MapEdge, type MapNode, mapApi, type NodeKind, type ServiceDetail } from "../map/api";
import { isBad, redFigures } from "../map/graph";
import { nameInId, nodeName, rateText } from "../map/names";
import { FiguresTable, Notes } from "../map/Panel";
import { nodeSearch } from "../map/search";
import { formatMap, mapFocus, parseMap } from "../model/mapUrl";
import { formatService, parseService, serviceOfPath, servicePath } from "../model/serviceUrl";
import { type Range, rangeWindow, wider } from "../model/time";
import { visible } from "../model/visible";
import { controls, ServiceTag } from "../shell/controls";
import { ErrorMark, Icon } from "../shell/Icon";
import { useListKeys } from "../shell/listKeys";
import { useNow } from "../shell/now";
import { RangePicker, rangeText } from "../shell/RangePicker";
import { Scroll } from "../shell/Scroll";
import { Empty, ErrorNotice, Loading, PanelBoundary, PartialNotice } from "../shell/states";
import { useTitle } from "../shell/title";
import { useUrlState } from "../shell/url";
import css from "./ServicePage.module.css";

const codec = { parse: parseService, format: formatService };

/** How is this one doing? */
export default function ServicePage() {
  const i18n = useI18n();
  const { t } = i18n;
  const [view, setView] = useUrlState(codec);
  const [, navigate] = useLocation();
  // From the address itself: what the router gives is decoded once too often for names with a percent sign.
  const [namespace, name] = serviceOfPath(location.pathname);
  const id = `${view.kind}/${namespace}/${name}`;
  useTitle(t.service.title(nameInId(id, i18n)));
  const detail = useQuery({
    queryKey: ["service", id, view.range],
    queryFn: ({ signal }) => mapApi.service(id, rangeWindow(view.range), 60, { signal }),
    refetchInterval: view.range.kind === "last" ? 30_000 : false,
  });
  const doctor = useDoctor(view.range, t.code);
  const findings = useMemo(
    () => findingsByWorkload(doctor.data).get(workloadName(namespace, name)) ?? [],
    [doctor.data, namespace, name],
  );
  const setRange = useCallback((range: Range) => setView((v) => ({ ...v, range }), "push"), [setView]);
  const node = detail.data?.node;
  const gone = detail.error instanceof ApiError && detail.error.kind === "notFound";
  return (
    <main id="main" tabIndex={-1} className={css["page"]}>
      <div className={css["head"]}>
        <h1>
          {node?.slot !== undefined ? (
            <ServiceTag name={visible(name)} slot={node.slot} />
          ) : (
            nameInId(id, i18n)
          )}
        </h1>
        <p className={controls["muted"]}>
          {[kindText(view.kind, i18n), namespace].filter(Boolean).join(" · ")}
        </p>
        <p className={`${controls["muted"]} ${css["question"]}`}>{t.service.question}</p>
        <RangePicker range={view.range} onChange={setRange} />
        <button
          type="button"
          className={controls["button"]}
          onClick={() => detail.refetch()}
          title={t.app.refresh}
          aria-label={t.app.refresh}
        >
          <Icon name="refresh" />
        </button>
      </div>
      {detail.error && !gone ? (
        <ErrorNotice
          error={detail.error}
          onRetry={() => detail.refetch()}
          {...(detail.data ? { title: t.state.stale } : {})}
        />
      ) : null}
      {gone ? <Gone range={view.range} setRange={setRange} namespace={namespace} name={name} /> : null}
      {detail.isPending ? <Loading rows={8} /> : null}
      {detail.data && !gone ? (
        <PanelBoundary>
          <PartialNotice
            complete={detail.data.complete}
            reason={detail.data.reason}
            away={detail.data.away}
            read={detail.data.read}
          />
          <Detail
            detail={detail.data}
            range={view.range}
            findings={findings}
            onRange={(from, to) => setRange({ kind: "between", from: Math.floor(from), to: Math.ceil(to) })}
            onTrace={(trace) => navigate(`/trace/${trace}`)}
          />
        </PanelBoundary>
      ) : null}
    </main>
  );
}

function kindText(kind: string, { t }: I18n): string {
  return Object.hasOwn(t.map.kind, kind) ? t.map.kind[kind as NodeKind] : kind;
}

function Gone(p: { range: Range; setRange: (r: Range) => void; namespace: string; name: string }) {
  const i18n = useI18n();
  const { t } = i18n;
  const next = wider(p.range, useNow());
  return (
    <Empty title={t.service.notFound}>
      <p>{t.service.notFoundHelp}</p>
      {next ? (
        <button type="button" className={controls["button"]} onClick={() => p.setRange(next)}>
          {t.map.emptyWiden(rangeText(next, i18n))}
        </button>
      ) : null}
      <p>
        <Link href={`/map?${formatMap({ ...parseMap(""), range: p.range })}`}>{t.service.toMap}</Link> ·{" "}
        <Link href={`/doctor?workload=${encodeURIComponent(workloadName(p.namespace, p.name))}`}>
          {t.service.doctorAsk}
        </Link>
      </p>
    </Empty>
  );
}

function Detail(p: {
  detail: ServiceDetail;
  range: Range;
  findings: readonly Finding[];
  onRange: (from: number, to: number) => void;
  onTrace: (id: string) => void;
}) {
  const i18n = useI18n();
  const { t } = i18n;
  const { detail, range } = p;
  const { node } = detail;
  const traces = nodeSearch(node, range);
  const failed = nodeSearch(node, range, true);
  const own = detail.missing.filter((m) => m.node === node.id && m.from === undefined);
  return (
    <>
      <div className={css["actions"]}>
        <Link className={controls["button"]} href={`/map?${mapFocus(node.id, range)}`}>
          <Icon name="target" />
          {t.service.onMap}
        </Link>
        {traces ? (
          <Link className={controls["button"]} href={traces}>
            <Icon name="search" />
            {t.service.searchTraces}
          </Link>
        ) : null}
        {failed && node.errors > 0 ? (
          <Link className={controls["button"]} href={failed}>
            <ErrorMark />
            {t.service.searchFailed}
          </Link>
        ) : null}
      </div>
      <Notes node={node} missing={own} findings={p.findings} />
      <div className={css["red"]}>
        <div className={css["figures"]}>
          <FiguresTable now={node} before={undefined} />
        </div>
        <div className={css["charts"]}>
          <RedCharts
            series={detail.series}
            heights={{ rate: 150, latency: 150 }}
            onRange={p.onRange}
            onTrace={p.onTrace}
          />
        </div>
        <p className={css["fine"]}>{t.map.chartHelp}</p>
      </div>
      <div className={css["grid"]}>
        <div className={css["column"]}>
          <Operations detail={detail} />
          <Neighbours title={t.service.callers} edges={detail.callers} end="from" node={node} range={range} />
          <Neighbours title={t.service.callees} edges={detail.callees} end="to" node={node} range={range} />
        </div>
        <div className={css["column"]}>
          <Versions node={node} />
          <Sampling node={node} findings={p.findings} />
          <Missing detail={detail} />
        </div>
      </div>
    </>
  );
}

/** Rows that are shown before all are asked for. */
const few = 20;

function Operations({ detail }: { detail: ServiceDetail }) {
  const i18n = useI18n();
  const { t, f } = i18n;
  const list = useListKeys();
  const [all, setAll] = useState(false);
  const { operations } = detail;
  const shown = all ? operations : operations.slice(0, few);
  return (
    <section ref={list.ref as React.RefObject<HTMLDivElement>} data-keys="lists">
      <h2>
        {t.service.operations} <span className={controls["muted"]}>{f.integer(operations.length)}</span>
      </h2>
      {operations.length === 0 ? (
        <p className={controls["muted"]}>{t.service.noOperations}</p>
      ) : (
        <Scroll className={css["scroll"]} label={t.service.operations}>
          <table className={controls["table"]}>
            <thead>
              <tr>
                <th>{t.service.colOperation}</th>
                <th>{t.service.colKind}</th>
                <th className={controls["number"]}>{t.map.calls}</th>
                <th className={controls["number"]}>{t.map.errors}</th>
                <th className={controls["number"]}>{t.map.p50}</th>
                <th className={controls["number"]}>{t.map.p95}</th>
                <th className={controls["number"]}>{t.map.p99}</th>
                <th>{t.service.colExamples}</th>
              </tr>
            </thead>
            <tbody>
              {shown.map((o) => {
                const bad = isBad(redFigures(o.red));
                return (
                  <tr key={`${o.kind} ${o.operation}`}>
                    <td className={css["name"]} title={o.operation.slice(0, 500)}>
                      {o.operation.slice(0, 500)}
                    </td>
                    <td className={controls["muted"]}>
                      {t.details.kindName[o.kind as keyof typeof t.details.kindName] ?? o.kind}
                    </td>
                    <td className={controls["number"]}>{rateText(redFigures(o.red), i18n)}</td>
                    <td className={`${controls["number"]} ${bad ? controls["error"] : ""}`}>
                      {bad ? <ErrorMark /> : null} {f.percent(o.red.errorRate)}
                    </td>
                    <td className={controls["number"]}>{f.duration(o.red.p50)}</td>
                    <td className={controls["number"]}>{f.duration(o.red.p95)}</td>
                    <td className={controls["number"]}>{f.duration(o.red.p99)}</td>
                    <td className={css["examples"]}>
                      {o.slowest ? (
                        <Link
                          href={`/trace/${o.slowest}`}
                          data-row-link=""
                          aria-label={t.service.openSlowest(o.operation.slice(0, 100))}
                        >
                          {t.service.slowest}
                        </Link>
                      ) : null}
                      {o.failed ? (
                        <Link
                          href={`/trace/${o.failed}`}
                          aria-label={t.service.openFailed(o.operation.slice(0, 100))}
                        >
                          {t.service.failed}
                        </Link>
                      ) : null}
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </Scroll>
      )}
      {operations.length > shown.length ? (
        <p className={css["fine"]}>
          {t.service.more(f.integer(shown.length), f.integer(operations.length))}{" "}
          <button type="button" className={controls["plain"]} onClick={() => setAll(true)}>
            {t.service.showAll}
          </button>
        </p>
      ) : null}
    </section>
  );
}

/** Versions next to each other over the same calls: what a canary is watched by. */
function Versions({ node }: { node: MapNode }) {
  const i18n = useI18n();
  const { t, f } = i18n;
  const { versions } = node;
  const total = versions.reduce((s, v) => s + v.red.weight, 0);
  return (
    <section>
      <h2 title={t.service.versionsHelp}>{t.service.versions}</h2>
      {versions.length === 0 ? <p className={controls["muted"]}>{t.service.noVersion}</p> : null}
      {versions.length === 1 ? (
        <p className={controls["muted"]}>{t.service.oneVersion(versions[0]!.version || t.map.versionNone)}</p>
      ) : null}
      {versions.length > 1 ? (
        <Scroll className={css["scroll"]} label={t.service.versions}>
          <table className={controls["table"]}>
            <thead>
              <tr>
                <th scope="col">
                  <span className="sr-only">{t.map.calls}</span>
                </th>
                {versions.map((v) => (
                  <th key={v.version} scope="col" className={controls["number"]}>
                    {v.version || t.map.versionNone}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {(
                [
                  [t.service.share, (r) => (total > 0 ? f.percent(r.weight / total) : "")],
                  [t.map.calls, (r) => rateText(redFigures(r), i18n)],
                  [t.map.errors, (r) => f.percent(r.errorRate)],
                  [t.map.p50, (r) => f.duration(r.p50)],
                  [t.map.p95, (r) => f.duration(r.p95)],
                  [t.map.p99, (r) => f.duration(r.p99)],
                ] as [string, (r: (typeof versions)[number]["red"]) => string][]
              ).map(([name, value], row) => (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  {versions.map((v) => (
                    <td
                      key={v.version}
                      className={`${controls["number"]} ${row === 2 && isBad(redFigures(v.red)) ? controls["error"] : ""}`}
                    >
                      {value(v.red)}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      ) : null}
    </section>
  );
}

/** Codes of the doctor that speak of how many requests are traced. */
const samplingCauses = new Set([
  "sampling-zero",
  "sampling-low",
  "sampling-invalid",
  "sampling-tiny",
  "caller-not-sampled",
]);

function Sampling({ node, findings }: { node: MapNode; findings: readonly Finding[] }) {
  const { t, f } = useI18n();
  const about = findings.filter((x) => samplingCauses.has(x.cause));
  return (
    <section>
      <h2>{t.service.sampling}</h2>
      <p>
        {node.estimated && node.calls > 0
          ? t.service.samplingRate(f.percent(node.n / node.calls), f.integer(node.n))
          : t.service.samplingAll(f.integer(node.n))}
      </p>
      {about.length > 0 ? (
        <ul aria-label={t.service.samplingFindings}>
          {about.map((x) => (
            <li key={x.code}>
              <Link href={`/doctor?finding=${x.code}`}>
                {x.code} {x.title}
              </Link>
            </li>
          ))}
        </ul>
      ) : null}
    </section>
  );
}

function Missing({ detail }: { detail: ServiceDetail }) {
  const i18n = useI18n();
  const { t } = i18n;
  return (
    <section>
      <h2>{t.service.missing}</h2>
      {detail.missing.length === 0 ? <p className={controls["muted"]}>{t.service.nothingMissing}</p> : null}
      <ul className={css["missing"]}>
        {detail.missing.map((m) => {
          const text = t.map.missing[m.kind] ?? m.message;
          return (
            <li key={`${m.kind} ${m.from ?? ""} ${m.node}`}>
              <Icon name="warning" size={14} />
              <span>
                {m.from === undefined
                  ? text
                  : t.service.missingEdge(nameInId(m.from, i18n), nameInId(m.node, i18n), text)}
              </span>
            </li>
          );
        })}
      </ul>
    </section>
  );
}

function Neighbours(p: {
  title: string;
  edges: readonly MapEdge[];
  end: "from" | "to";
  node: MapNode;
  range: Range;
}) {
  const i18n = useI18n();
  const { t, f } = i18n;
  const list = useListKeys();
  const edges = p.edges.filter((e) => e.class !== "telemetry").sort((a, b) => b.rate - a.rate);
  return (
    <section ref={list.ref as React.RefObject<HTMLDivElement>} data-keys="lists">
      <h2>
        {p.title} <span className={controls["muted"]}>{f.integer(edges.length)}</span>
      </h2>
      {edges.length === 0 ? <p className={controls["muted"]}>{t.service.nobody}</p> : null}
      {edges.length > 0 ? (
        <Scroll className={css["scroll"]} label={p.title}>
          <table className={controls["table"]}>
            <thead>
              <tr>
                <th>{t.map.colName}</th>
                <th>{t.map.colNamespace}</th>
                <th>{t.map.colKind}</th>
                <th className={controls["number"]}>{t.map.calls}</th>
                <th className={controls["number"]}>{t.map.errors}</th>
                <th className={controls["number"]}>{t.map.p50}</th>
                <th className={controls["number"]}>{t.map.p95}</th>
              </tr>
            </thead>
            <tbody>
              {edges.map((e) => {
                const other = e[p.end];
                const [kind = "", namespace = "", ...rest] = other.split("/");
                const service = rest.join("/");
                const bad = isBad(e);
                const edge = `/map?${formatMap({
                  ...parseMap(mapFocus(p.node.id, p.range)),
                  hops: 1,
                  selection: { kind: "edge", from: e.from, to: e.to, class: e.class },
                })}`;
                return (
                  <tr key={`${other} ${e.class}`}>
                    <td className={css["name"]}>
                      {kind === "service" || kind === "gateway" || kind === "waypoint" ? (
                        <Link href={servicePath({ kind, namespace, service }, p.range)} data-row-link="">
                          {nodeName({ kind: kind as NodeKind, service }, i18n)}
                        </Link>
                      ) : (
                        nameInId(other, i18n)
                      )}
                    </td>
                    <td className={css["name"]}>{namespace}</td>
                    <td className={controls["muted"]}>{kindText(kind, i18n)}</td>
                    <td className={controls["number"]}>
                      <Link href={edge} title={`${nameInId(e.from, i18n)} → ${nameInId(e.to, i18n)}`}>
                        {rateText(e, i18n)}
                      </Link>
                    </td>
                    <td className={`${controls["number"]} ${bad ? controls["error"] : ""}`}>
                      {bad ? <ErrorMark /> : null} {f.percent(e.errorRate)}
                    </td>
                    <td className={controls["number"]}>{f.duration(e.p50)}</td>
                    <td className={controls["number"]}>{f.duration(e.p95)}</td>
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
