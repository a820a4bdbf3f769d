import type { MtlsWord } from "../model/conditions";
import type { MapColumn } from "../model/mapUrl";
import type { Figures, MapEdge, MapNode } from "./api";
import { type Change, changeOf, edgeId } from "./graph";

/** A row of the tables: one call or one node of the answer, folded or not. */
export interface Row {
  id: string;
  name: string;
  to: string;
  detail: string;
  figures: Figures;
  before: Figures | undefined;
  change: Change | undefined;
}

export function edgeRows(
  edges: readonly MapEdge[],
  before: readonly MapEdge[] | undefined,
  nameOf: (id: string) => string,
  mtlsOf: (word: MtlsWord) => string,
): Row[] {
  const was = before && new Map(before.map((e) => [edgeId(e), e]));
  return edges.map((e) => {
    const then = was ? (was.get(edgeId(e)) ?? none) : undefined;
    return {
      id: edgeId(e),
      name: nameOf(e.from),
      to: nameOf(e.to),
      // What is not known would stand in every row.
      detail: [...e.protocols, e.mtls && e.mtls !== "unknown" ? mtlsOf(e.mtls) : ""]
        .filter(Boolean)
        .join(", "),
      figures: e,
      before: then,
      change: then && changeOf(e, then),
    };
  });
}

export function nodeRows(
  nodes: readonly MapNode[],
  before: readonly MapNode[] | undefined,
  nameOf: (id: string) => string,
  kindOf: (n: MapNode) => string,
): Row[] {
  const was = before && new Map(before.map((n) => [n.id, n]));
  return nodes.map((n) => {
    const then = was ? (was.get(n.id) ?? none) : undefined;
    return {
      id: n.id,
      name: nameOf(n.id),
      to: n.namespace,
      detail: kindOf(n),
      figures: n,
      before: then,
      change: then && changeOf(n, then),
    };
  });
}

const none: Figures = {
  calls: 0,
  errors: 0,
  n: 0,
  rate: 0,
  errorRate: 0,
  p50: 0,
  p95: 0,
  p99: 0,
  estimated: false,
};

const changeRank: Record<Change, number> = { worse: 4, gone: 3, new: 2, better: 1, same: 0 };

/** sortRows orders by one column; equal rows stay in the order of names, whichever way it goes. */
export function sortRows(rows: readonly Row[], by: MapColumn, descending: boolean): Row[] {
  const compare = (a: Row, b: Row): number => {
    switch (by) {
      case "name":
        return text(a.name, b.name);
      case "to":
        return text(a.to, b.to);
      case "errors":
        return a.figures.errorRate - b.figures.errorRate || a.figures.errors - b.figures.errors;
      case "change":
        return changeRank[a.change ?? "same"] - changeRank[b.change ?? "same"];
      default:
        return a.figures[by] - b.figures[by];
    }
  };
  return [...rows].sort(
    (a, b) => (descending ? -1 : 1) * compare(a, b) || text(a.name, b.name) || text(a.to, b.to),
  );
}

function text(a: string, b: string): number {
  const [x, y] = [a.toLowerCase(), b.toLowerCase()];
  return x < y ? -1 : x > y ? 1 : a < b ? -1 : a > b ? 1 : 0;
}

/** Cells with tabs between, rows with line ends: what spreadsheets and reports take. Both are blanks inside of a cell. */
export function tabbed(rows: readonly (readonly string[])[]): string {
  return rows.map((r) => r.map((c) => c.replace(/[\t\r\n]+/g, " ")).join("\t")).join("\n");
}
