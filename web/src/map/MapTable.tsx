import { useMemo } from "react";
import { Link } from "wouter";
import { useI18n } from "../i18n";
import { formatMap, type MapColumn, type MapView, type Selection } from "../model/mapUrl";
import { controls } from "../shell/controls";
import { ErrorMark, Icon } from "../shell/Icon";
import { useListKeys } from "../shell/listKeys";
import { Scroll } from "../shell/Scroll";
import { useCopy } from "../shell/toast";
import type { MapAnswer } from "./api";
import { type Graph, isBad } from "./graph";
import css from "./MapTable.module.css";
import { nodeName, rateText } from "./names";
import { edgeRows, nodeRows, type Row, sortRows, tabbed } from "./rows";

/** The same data as tables: for screen readers, a thousand services, and reports. */
export function MapTable(p: {
  graph: Graph;
  earlier: MapAnswer | undefined;
  view: MapView;
  onSort: (sort: MapColumn, descending: boolean) => void;
}) {
  const i18n = useI18n();
  const { t } = i18n;
  const { graph, view } = p;
  const list = useListKeys();
  const byId = useMemo(() => new Map(graph.members.map((n) => [n.id, n])), [graph]);
  const dim = useMemo(() => {
    const out = new Set<string>();
    for (const e of graph.edges)
      if (e.dim) for (const m of e.members) out.add(JSON.stringify([m.from, m.to, m.class]));
    for (const n of graph.nodes) if (n.dim) for (const m of n.members) out.add(m.id);
    return out;
  }, [graph]);
  const named = (id: string) => nodeName(byId.get(id)!, i18n);
  const calls = sortRows(
    edgeRows(graph.calls, p.earlier?.edges, named, (word) => `mTLS: ${t.map.mtlsWord[word]}`),
    view.sort,
    view.descending,
  ).filter((r) => !dim.has(r.id));
  const nodes = sortRows(
    nodeRows(graph.members, p.earlier?.nodes, named, (n) => t.map.kind[n.kind]),
    view.sort,
    view.descending,
  ).filter((r) => !dim.has(r.id));
  const link = (selection: Selection) => `/map?${formatMap({ ...view, selection })}`;
  return (
    <div className={css["tables"]} ref={list.ref} data-keys="lists">
      <Table
        title={t.map.tableCalls}
        rows={calls}
        first={t.map.colFrom}
        second={t.map.colTo}
        third={t.map.colProtocol}
        compared={p.earlier !== undefined}
        href={(r) => {
          const [from, to, c] = JSON.parse(r.id) as [string, string, "call"];
          return link({ kind: "edge", from, to, class: c });
        }}
        {...p}
      />
      <Table
        title={t.map.tableNodes}
        rows={nodes}
        first={t.map.colName}
        second={t.map.colNamespace}
        third={t.map.colKind}
        compared={p.earlier !== undefined}
        href={(r) => link({ kind: "node", id: r.id })}
        {...p}
      />
    </div>
  );
}

function Table(p: {
  title: string;
  rows: readonly Row[];
  first: string;
  second: string;
  third: string;
  compared: boolean;
  view: MapView;
  href: (r: Row) => string;
  onSort: (sort: MapColumn, descending: boolean) => void;
}) {
  const i18n = useI18n();
  const { t, f } = i18n;
  const copy = useCopy();
  const heads: [MapColumn | undefined, string][] = [
    ["name", p.first],
    ["to", p.second],
    [undefined, p.third],
    ["rate", t.map.calls],
    ["errors", t.map.errors],
    ["p50", t.map.p50],
    ["p95", t.map.p95],
    ["p99", t.map.p99],
    ...(p.compared ? [["change", t.map.colChange] as [MapColumn, string]] : []),
  ];
  const cells = (r: Row): string[] => [
    r.name,
    r.to,
    r.detail,
    rateText(r.figures, i18n),
    r.figures.n > 0 ? f.percent(r.figures.errorRate) : "",
    ...(["p50", "p95", "p99"] as const).map((q) => (r.figures.n > 0 ? f.duration(r.figures[q]) : "")),
    ...(p.compared ? [r.change && r.change !== "same" ? t.map.change[r.change] : ""] : []),
  ];
  return (
    <section>
      <div className={css["head"]}>
        <h2>
          {p.title} <span className={controls["muted"]}>{f.integer(p.rows.length)}</span>
        </h2>
        <button
          type="button"
          className={controls["button"]}
          onClick={() =>
            copy(
              tabbed([heads.map(([, text]) => text), ...p.rows.map(cells)]),
              t.map.copied(f.integer(p.rows.length)),
            )
          }
        >
          <Icon name="copy" />
          {t.map.copyTable}
        </button>
      </div>
      <Scroll className={css["scroll"]} label={p.title}>
        <table className={controls["table"]}>
          <thead>
            <tr>
              {heads.map(([column, text], i) => {
                const here = column !== undefined && p.view.sort === column;
                return (
                  <th
                    key={text}
                    className={i > 2 && column !== "change" ? controls["number"] : undefined}
                    {...(column
                      ? ({
                          "aria-sort": here ? (p.view.descending ? "descending" : "ascending") : "none",
                        } as const)
                      : {})}
                  >
                    {column ? (
                      <button
                        type="button"
                        className={css["sort"]}
                        onClick={() =>
                          p.onSort(column, here ? !p.view.descending : column !== "name" && column !== "to")
                        }
                      >
                        {text}
                        {here ? (
                          <Icon name={p.view.descending ? "chevronDown" : "chevronUp"} size={12} />
                        ) : null}
                      </button>
                    ) : (
                      text
                    )}
                  </th>
                );
              })}
            </tr>
          </thead>
          <tbody>
            {p.rows.map((r) => {
              const c = cells(r);
              const bad = isBad(r.figures);
              return (
                <tr key={r.id}>
                  <td className={css["name"]}>
                    <Link href={p.href(r)} data-row-link="" replace>
                      {c[0]}
                    </Link>
                  </td>
                  <td className={css["name"]}>{c[1]}</td>
                  <td className={`${css["name"]} ${controls["muted"]}`}>{c[2]}</td>
                  <td className={controls["number"]}>{c[3]}</td>
                  <td className={`${controls["number"]} ${bad ? controls["error"] : ""}`}>
                    {bad ? <ErrorMark /> : null} {c[4]}
                  </td>
                  {c.slice(5, 8).map((x, i) => (
                    // biome-ignore lint/suspicious/noArrayIndexKey: columns are their position
                    <td key={i} className={controls["number"]}>
                      {x}
                    </td>
                  ))}
                  {p.compared ? (
                    <td className={r.change === "worse" ? controls["warn"] : undefined}>{c[8]}</td>
                  ) : null}
                </tr>
              );
            })}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}
