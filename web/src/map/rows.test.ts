// @vitest-environment node
import { expect, test } from "vitest";
import type { MapEdge } from "./api";
import { edgeRows, sortRows, tabbed } from "./rows";
import { databaseQuery, edgeFilters } from "./search";

const edge = (from: string, to: string, rate: number, errorRate = 0): MapEdge => ({
  from,
  to,
  class: "call",
  protocol: "http",
  protocols: ["http", "grpc"],
  seen: "both",
  flags: [],
  calls: rate * 100,
  errors: rate * 100 * errorRate,
  n: rate * 100,
  rate,
  errorRate,
  p50: 1e6,
  p95: 5e6 * rate,
  p99: 9e6,
  estimated: false,
});

const rows = edgeRows(
  [edge("b", "x", 1), edge("a", "x", 3, 0.5), edge("A", "y", 1)],
  [edge("a", "x", 3, 0.1)],
  (id) => id,
  (word) => word,
);
const names = (list: typeof rows) => list.map((r) => `${r.name}>${r.to}`);

test("rows sort by any column, equal ones by name", () => {
  expect(names(sortRows(rows, "rate", true))).toEqual(["a>x", "A>y", "b>x"]);
  expect(names(sortRows(rows, "rate", false))).toEqual(["A>y", "b>x", "a>x"]);
  expect(names(sortRows(rows, "name", false))).toEqual(["A>y", "a>x", "b>x"]);
  expect(names(sortRows(rows, "errors", true))[0]).toBe("a>x");
  expect(names(sortRows(rows, "to", true))[0]).toBe("A>y");
  expect(names(sortRows(rows, "p95", true))[0]).toBe("a>x");
});

test("what was not there before is new, what fails more is worse and first by change", () => {
  expect(rows.map((r) => r.change)).toEqual(["new", "worse", "new"]);
  expect(names(sortRows(rows, "change", true))[0]).toBe("a>x");
  expect(
    edgeRows(
      [edge("a", "b", 1)],
      undefined,
      (id) => id,
      (word) => word,
    )[0]!.change,
  ).toBeUndefined();
});

test("copied cells cannot break out of theirs", () => {
  expect(
    tabbed([
      ["a\tb", "c\r\nd"],
      ["e", ""],
    ]),
  ).toBe("a b\tc d\ne\t");
});

const node = (
  kind: "service" | "database" | "external",
  namespace: string,
  service: string,
  services: string[],
) => ({
  ...edge("", "", 0),
  id: "",
  kind,
  namespace,
  service,
  services,
  versions: [],
  badges: [],
});

test("the calls of an edge are found on the span that names the other side", () => {
  const web = node("service", "shop", "web", ["web", "web.shop"]);
  const api = node("service", "shop", "api", ["api.shop"]);
  const texts = (list: ReturnType<typeof edgeFilters>) => list.map((f) => f.field + f.op + f.value);
  expect(texts(edgeFilters({ class: "call" }, web, api))).toEqual([
    "service=web.shop",
    "kind=client",
    "span.upstream_cluster=~.*[|]api[.].*|api",
  ]);
  const db = node("database", "", "postgresql/orders", []);
  expect(databaseQuery(web, db, true)).toBe(
    '{ resource.service.name = "web" && kind = client && (span.db.system = "postgresql" || span.db.system.name = "postgresql") && status = error }',
  );
  expect(databaseQuery(web, api, false)).toBeUndefined();
  const app = node("service", "", "cart", ["cart"]);
  expect(texts(edgeFilters({ class: "call" }, app, api))).toEqual(["service=api.shop", "kind=server"]);
  expect(edgeFilters({ class: "call" }, undefined, undefined)).toEqual([]);
});
