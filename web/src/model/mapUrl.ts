import { type Condition, formatCondition, parseCondition } from "./conditions";
import { rangeKeys, rangeParts, readRange } from "./rangeUrl";
import { build, type Rest, restOf } from "./rest";
import type { Range } from "./time";

export const earlier = ["before", "1h", "1d", "7d"] as const;
/** The window that is compared with: of equal length, right before or so much earlier. */
export type Earlier = (typeof earlier)[number];

export const mapColumns = ["name", "to", "rate", "errors", "p50", "p95", "p99", "change"] as const;
export type MapColumn = (typeof mapColumns)[number];

export type Selection =
  | { kind: "node"; id: string }
  | { kind: "group"; id: string }
  | { kind: "edge"; from: string; to: string; class: "call" | "async" | "telemetry" };

/** What the map shows, all of it from the URL. */
export interface MapView {
  range: Range;
  /** The same data as tables. */
  table: boolean;
  /** Id of a node; empty: all. */
  focus: string;
  /** Hops up and down from the focus, 1 to 9. */
  hops: number;
  find: Condition[];
  hide: Condition[];
  /** Whether namespaces are folded: by the number of nodes, all, or none; `open` and `closed` are exceptions. */
  fold: "auto" | "all" | "none";
  open: string[];
  closed: string[];
  compare: Earlier | undefined;
  /** With the export of spans, metrics and logs. */
  telemetry: boolean;
  /** Sidecars as nodes of their own. */
  proxies: boolean;
  selection: Selection | undefined;
  sort: MapColumn;
  descending: boolean;
  rest: Rest;
}

const known = [
  ...rangeKeys,
  "view",
  "focus",
  "hops",
  "find",
  "hide",
  "fold",
  "open",
  "closed",
  "compare",
  "telemetry",
  "proxies",
  "node",
  "group",
  "caller",
  "callee",
  "class",
  "sort",
];

export function parseMap(query: string): MapView {
  const p = new URLSearchParams(query);
  const hops = Number(p.get("hops"));
  const fold = p.get("fold");
  const compare = p.get("compare") as Earlier;
  const [, minus, name] = /^(-?)(\w+)$/.exec(p.get("sort") ?? "") ?? [];
  const sort = mapColumns.includes(name as MapColumn) ? (name as MapColumn) : "rate";
  return {
    range: readRange(p),
    table: p.get("view") === "table",
    focus: p.get("focus") ?? "",
    hops: Number.isInteger(hops) && hops >= 1 && hops <= 9 ? hops : 1,
    find: conditions(p, "find"),
    hide: conditions(p, "hide"),
    fold: fold === "all" || fold === "none" ? fold : "auto",
    open: distinct(p.getAll("open")),
    closed: distinct(p.getAll("closed")),
    compare: earlier.includes(compare) ? compare : undefined,
    telemetry: p.get("telemetry") === "true",
    proxies: p.get("proxies") === "true",
    selection: selectionOf(p),
    sort,
    descending: name === sort ? minus === "-" : true,
    rest: restOf(p, known),
  };
}

function conditions(p: URLSearchParams, key: string): Condition[] {
  const texts = distinct(p.getAll(key)).flatMap((text) => {
    const c = parseCondition(text);
    return c ? [formatCondition(c)] : [];
  });
  return distinct(texts).map((text) => parseCondition(text)!);
}

function distinct(list: string[]): string[] {
  return [...new Set(list.filter((s) => s !== ""))];
}

function selectionOf(p: URLSearchParams): Selection | undefined {
  const [node, group, from, to] = [p.get("node"), p.get("group"), p.get("caller"), p.get("callee")];
  if (node) return { kind: "node", id: node };
  if (group) return { kind: "group", id: group };
  const word = p.get("class");
  if (from && to)
    return { kind: "edge", from, to, class: word === "async" || word === "telemetry" ? word : "call" };
  return undefined;
}

export function formatMap(v: MapView): string {
  const many = (key: string, list: readonly string[]) => list.map((x): [string, string] => [key, x]);
  const s = v.selection;
  const sort = `${v.descending ? "-" : ""}${v.sort}`;
  return build(
    [
      ...rangeParts(v.range),
      ["view", v.table ? "table" : undefined],
      ["focus", v.focus],
      ["hops", v.hops === 1 ? undefined : String(v.hops)],
      ...many("find", v.find.map(formatCondition)),
      ...many("hide", v.hide.map(formatCondition)),
      ["fold", v.fold === "auto" ? undefined : v.fold],
      ...many("open", v.open),
      ...many("closed", v.closed),
      ["compare", v.compare],
      ["telemetry", v.telemetry ? "true" : undefined],
      ["proxies", v.proxies ? "true" : undefined],
      ["node", s?.kind === "node" ? s.id : undefined],
      ["group", s?.kind === "group" ? s.id : undefined],
      ["caller", s?.kind === "edge" ? s.from : undefined],
      ["callee", s?.kind === "edge" ? s.to : undefined],
      ["class", s?.kind === "edge" && s.class !== "call" ? s.class : undefined],
      ["sort", sort === "-rate" ? undefined : sort],
    ],
    v.rest,
  );
}

/** The address of the map with a node in focus and selected. */
export function mapFocus(id: string, range: Range): string {
  return formatMap({ ...parseMap(""), range, focus: id, hops: 2, selection: { kind: "node", id } });
}
