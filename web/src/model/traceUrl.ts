import { build, type Rest, restOf } from "./rest";

export const hopModes = ["folded", "all", "none"] as const;
/** Hops as one row, every span its own row, or without proxies. */
export type HopMode = (typeof hopModes)[number];

export const traceViews = ["waterfall", "flame", "table", "hops", "json"] as const;
/** The ways to look at a trace. */
export type ViewName = (typeof traceViews)[number];

export const groupings = ["service", "operation"] as const;
/** What a line of the table sums up: a service, or an operation of a service. */
export type Grouping = (typeof groupings)[number];

export const tableColumns = [
  "self",
  "total",
  "spans",
  "errors",
  "average",
  "longest",
  "path",
  "name",
] as const;
export type TableColumn = (typeof tableColumns)[number];

/** What the trace page shows, all of it from the URL. Spans are named by reference (spanRef). */
export interface TraceView {
  /** Undefined is the page's own choice: the waterfall, or the table for a very large trace. */
  view: ViewName | undefined;
  /** Times corrected by the estimated differences of clocks, instead of as they were sent. */
  corrected: boolean;
  group: Grouping;
  sort: TableColumn;
  /** The flame graph in order of time, instead of summed by call path. */
  inTime: boolean;
  /** The summed flame graph from the call path of this span on. */
  root: string | undefined;
  /** The span whose details are open. */
  span: string | undefined;
  /** Visible part of the time axis, nanoseconds after the trace's start; undefined is all of it. */
  window: readonly [number, number] | undefined;
  /** Rows deeper than this many levels are folded away; undefined unfolds all. */
  level: number | undefined;
  /** Rows that do the opposite of what the level says. */
  except: readonly string[];
  hops: HopMode;
  /** Hops (by reference of their first span) that do the opposite of what the mode says. */
  hopExcept: readonly string[];
  /** Names of services that are hidden. */
  hide: readonly string[];
  onlyErrors: boolean;
  critical: boolean;
  find: string;
  rest: Rest;
}

export const emptyTraceView: TraceView = {
  view: undefined,
  corrected: false,
  group: "operation",
  sort: "self",
  inTime: false,
  root: undefined,
  span: undefined,
  window: undefined,
  level: undefined,
  except: [],
  hops: "folded",
  hopExcept: [],
  hide: [],
  onlyErrors: false,
  critical: false,
  find: "",
  rest: [],
};

const known = [
  "view",
  "clock",
  "by",
  "sort",
  "flame",
  "root",
  "span",
  "w",
  "level",
  "x",
  "hops",
  "hx",
  "hide",
  "errors",
  "critical",
  "find",
];
const refPattern = /^[0-9a-f]{16}(~[1-9]\d{0,4})?$/;

export function parseTrace(query: string): TraceView {
  const p = new URLSearchParams(query);
  const span = p.get("span") ?? "";
  const [, from, to] = /^(\d{1,16})-(\d{1,16})$/.exec(p.get("w") ?? "") ?? [];
  const level = /^[1-9]\d{0,3}$/.exec(p.get("level") ?? "")?.[0];
  const hops = p.get("hops") as HopMode;
  const oneOf = <T extends string>(values: readonly T[], key: string): T | undefined =>
    values.find((v) => v === p.get(key));
  const root = p.get("root") ?? "";
  return {
    view: oneOf(traceViews, "view"),
    corrected: p.get("clock") === "corrected",
    group: oneOf(groupings, "by") ?? emptyTraceView.group,
    sort: oneOf(tableColumns, "sort") ?? emptyTraceView.sort,
    inTime: p.get("flame") === "time",
    root: refPattern.test(root) ? root : undefined,
    span: refPattern.test(span) ? span : undefined,
    window: Number(from) < Number(to) ? [Number(from), Number(to)] : undefined,
    level: level ? Number(level) : undefined,
    except: refs(p.get("x")),
    hops: hopModes.includes(hops) ? hops : "folded",
    hopExcept: refs(p.get("hx")),
    hide: [...new Set(p.getAll("hide").filter((s) => s !== ""))],
    onlyErrors: p.get("errors") === "1",
    critical: p.get("critical") === "1",
    find: p.get("find") ?? "",
    rest: restOf(p, known),
  };
}

function refs(text: string | null): string[] {
  return [...new Set((text ?? "").split(",").filter((r) => refPattern.test(r)))];
}

export function formatTrace(v: TraceView): string {
  return build(
    [
      ["view", v.view],
      ["by", v.group === emptyTraceView.group ? undefined : v.group],
      ["sort", v.sort === emptyTraceView.sort ? undefined : v.sort],
      ["flame", v.inTime ? "time" : undefined],
      ["root", v.root],
      ["clock", v.corrected ? "corrected" : undefined],
      ["span", v.span],
      ["w", v.window ? `${v.window[0]}-${v.window[1]}` : undefined],
      ["level", v.level === undefined ? undefined : String(v.level)],
      ["x", v.except.join(",")],
      ["hops", v.hops === "folded" ? undefined : v.hops],
      ["hx", v.hopExcept.join(",")],
      ...v.hide.map((s): [string, string] => ["hide", s]),
      ["errors", v.onlyErrors ? "1" : undefined],
      ["critical", v.critical ? "1" : undefined],
      ["find", v.find],
    ],
    v.rest,
  );
}

/**
 * fromJaegerTrace translates `uiFind` (a span id or a text) of links made for Jaeger's trace page.
 * Undefined if there is nothing to translate.
 */
export function fromJaegerTrace(query: string): TraceView | undefined {
  const p = new URLSearchParams(query);
  const find = p.get("uiFind");
  if (find === null) return undefined;
  p.delete("uiFind");
  const view = parseTrace(p.toString());
  const id = find.trim().toLowerCase();
  if (/^[0-9a-f]{1,16}$/.test(id) && !/^0+$/.test(id)) return { ...view, span: id.padStart(16, "0") };
  return { ...view, find: find.trim() };
}
