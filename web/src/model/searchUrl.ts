import { type Apart, formatApart, parseApart } from "./apart";
import { type Filter, formatFilters } from "./filters";
import { canonicalId } from "./ids";
import { rangeKeys, rangeParts, readRange } from "./rangeUrl";
import { build, type Rest, restOf } from "./rest";
import type { Range } from "./time";
import { readQuestion } from "./traceql";

export const sorts = ["newest", "longest", "errors", "spans"] as const;
export type Sort = (typeof sorts)[number];
export const limits = [20, 50, 100, 200] as const;

/** What the search page shows, all of it from the URL. */
export interface SearchView {
  /** Filters in text form or TraceQL, as typed: a line that does not parse is kept and explained. */
  query: string;
  range: Range;
  /** Traces a page, 1 to 1000. */
  limit: number;
  /** Order of the loaded rows; the API itself answers newest first. */
  sort: Sort;
  /** Which spans the panel beside the list sets against the rest. */
  apart?: Apart | undefined;
  rest: Rest;
}

const known = ["q", ...rangeKeys, "limit", "sort", "apart"];

export function parseSearch(query: string): SearchView {
  const p = new URLSearchParams(query);
  const limit = Number(p.get("limit"));
  const sort = p.get("sort") as Sort;
  return {
    query: (p.get("q") ?? "").trim(),
    range: readRange(p),
    limit: Number.isInteger(limit) && limit >= 1 && limit <= 1000 ? limit : 20,
    sort: sorts.includes(sort) ? sort : "newest",
    apart: parseApart(p.get("apart")),
    rest: restOf(p, known),
  };
}

export function formatSearch(v: SearchView): string {
  return build(
    [
      ["q", v.query],
      ...rangeParts(v.range),
      ["limit", v.limit === 20 ? undefined : String(v.limit)],
      ["sort", v.sort === "newest" ? undefined : v.sort],
      ["apart", formatApart(v.apart)],
    ],
    v.rest,
  );
}

export function searchFor(filters: readonly Filter[], range: Range): string {
  return formatSearch({ query: formatFilters(filters), range, limit: 20, sort: "newest", rest: [] });
}

const jaegerKeys = [
  "service",
  "operation",
  "tags",
  "tag",
  "start",
  "end",
  "lookback",
  "minDuration",
  "maxDuration",
  "traceID",
];

export type JaegerLink = { kind: "search"; view: SearchView } | { kind: "trace"; traceId: string };

/**
 * fromJaegerLink translates a link that was made for Jaeger's search page (Kiali and Grafana make
 * them): service, operation, tags as JSON, start and end in microseconds. Undefined if it is none.
 */
export function fromJaegerLink(query: string): JaegerLink | undefined {
  const p = new URLSearchParams(query);
  if (p.has("q") || !jaegerKeys.some((k) => p.has(k))) return undefined;

  const ids = p.getAll("traceID").map((id) => canonicalId(id, 32));
  if (ids.length === 1 && ids[0]) return { kind: "trace", traceId: ids[0] };

  const filters: Filter[] = [];
  const add = (field: string, op: Filter["op"], value: string | null) => {
    if (value) filters.push({ field, op, value });
  };
  add("service", "=", p.get("service"));
  if (p.get("operation") !== "all") add("operation", "=", p.get("operation"));
  for (const [key, value] of jaegerTags(p)) {
    if (key === "error" && value === "true") add("status", "=", "error");
    else if (key === "span.kind") add("kind", "=", value);
    else if (!/[\s"=!<>?]/.test(key)) add(`.${key}`, "=", value);
  }
  add("duration", ">=", p.get("minDuration"));
  add("duration", "<=", p.get("maxDuration"));

  const translated = new URLSearchParams(restOf(p, jaegerKeys));
  translated.set("q", formatFilters(filters));
  const from = microseconds(p.get("start"));
  const to = microseconds(p.get("end")) ?? Date.now();
  const lookback = /^(\d+)(m|h|d|w)$/.exec(p.get("lookback") ?? "");
  if (lookback) {
    const weeks = lookback[2] === "w";
    translated.set("last", `${Number(lookback[1]) * (weeks ? 7 : 1)}${weeks ? "d" : lookback[2]}`);
  } else if (from !== undefined && from < to) {
    translated.set("from", String(from));
    translated.set("to", String(to));
  }
  return { kind: "search", view: parseSearch(translated.toString()) };
}

function microseconds(text: string | null): number | undefined {
  if (!text || !/^\d{13,17}$/.test(text)) return undefined;
  return Math.floor(Number(text) / 1000);
}

function jaegerTags(p: URLSearchParams): [string, string][] {
  const out: [string, string][] = [];
  for (const text of p.getAll("tags")) {
    try {
      const tags: unknown = JSON.parse(text);
      if (tags && typeof tags === "object" && !Array.isArray(tags)) {
        for (const [k, v] of Object.entries(tags)) out.push([k, String(v)]);
      }
    } catch {
      // A link cut short by a chat program: the rest of it is still worth opening.
    }
  }
  for (const text of p.getAll("tag")) {
    const colon = text.indexOf(":");
    if (colon > 0) out.push([text.slice(0, colon), text.slice(colon + 1)]);
  }
  return out;
}

/** What a view asks, or what is wrong with its text. */
export function questionOf(v: SearchView) {
  return readQuestion(v.query);
}
