import { rangeKeys, rangeParts, readRange } from "./rangeUrl";
import { build, type Rest, restOf } from "./rest";
import type { Range } from "./time";

export const columns = ["name", "rate", "errors", "p50", "p95", "p99"] as const;
export type Column = (typeof columns)[number];

export interface OverviewView {
  range: Range;
  sort: Column;
  descending: boolean;
  /** Part of a service's or namespace's name. */
  find: string;
  rest: Rest;
}

const known = [...rangeKeys, "sort", "find"];

/** The direction that is worth seeing first: names from A, numbers from the largest. */
export function naturalDescending(c: Column): boolean {
  return c !== "name";
}

export function parseOverview(query: string): OverviewView {
  const p = new URLSearchParams(query);
  const [, minus, name] = /^(-?)(\w+)$/.exec(p.get("sort") ?? "") ?? [];
  const sort = columns.includes(name as Column) ? (name as Column) : "rate";
  return {
    range: readRange(p),
    sort,
    descending: name === sort ? minus === "-" : true,
    find: p.get("find") ?? "",
    rest: restOf(p, known),
  };
}

export function formatOverview(v: OverviewView): string {
  const sort = `${v.descending ? "-" : ""}${v.sort}`;
  return build(
    [...rangeParts(v.range), ["sort", sort === "-rate" ? undefined : sort], ["find", v.find]],
    v.rest,
  );
}
