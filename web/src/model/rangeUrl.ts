import { isoInstant, parseIso, parseLast, type Range } from "./time";

export const rangeKeys = ["last", "from", "to"] as const;
export const defaultRange: Range = { kind: "last", last: "1h" };

/** readRange takes from+to before last; half a range or nonsense gives the default. */
export function readRange(params: URLSearchParams): Range {
  const from = parseIso(params.get("from") ?? "");
  const to = parseIso(params.get("to") ?? "");
  if (from !== undefined && to !== undefined && from < to) return { kind: "between", from, to };
  const last = parseLast(params.get("last") ?? "");
  return last ? { kind: "last", last } : defaultRange;
}

export function rangeParts(r: Range): [string, string | undefined][] {
  if (r.kind === "between") {
    return [
      ["from", isoInstant(r.from)],
      ["to", isoInstant(r.to)],
    ];
  }
  return [["last", r.last === "1h" ? undefined : r.last]];
}
