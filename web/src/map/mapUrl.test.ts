// @vitest-environment node
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  amount,
  type Condition,
  formatCondition,
  kindWords,
  parseCondition,
  withCondition,
} from "../model/conditions";
import { earlier, formatMap, type MapView, mapColumns, mapFocus, parseMap } from "../model/mapUrl";

const text = fc
  .oneof(fc.string({ minLength: 1, unit: "binary" }), fc.string({ minLength: 1 }))
  .map((s) => s.toWellFormed());

const condition: fc.Arbitrary<Condition> = fc.oneof(
  fc.record({
    field: fc.constant("errors" as const),
    op: fc.constantFrom(">" as const, "<" as const),
    value: fc.integer({ min: 0, max: 10000 }).map((n) => n / 10000),
  }),
  fc.record({
    field: fc.constant("p95" as const),
    op: fc.constantFrom(">" as const, "<" as const),
    value: fc.oneof(
      fc.nat(),
      fc.nat(1000).map((n) => n * 1e6),
      fc.nat(100).map((n) => n * 1e9),
    ),
  }),
  fc.record({
    field: fc.constant("rate" as const),
    op: fc.constantFrom(">" as const, "<" as const),
    value: fc.oneof(
      fc.nat(),
      fc.integer({ min: 1, max: 1000 }).map((n) => n / 1e9),
    ),
  }),
  fc.record({ field: fc.constant("ns" as const), op: fc.constant("=" as const), value: text }),
  fc.record({ field: fc.constant("name" as const), op: fc.constant("~" as const), value: text }),
  fc.record({
    field: fc.constant("kind" as const),
    op: fc.constant("=" as const),
    value: fc.constantFrom(...kindWords),
  }),
);

const view: fc.Arbitrary<MapView> = fc.record({
  range: fc.oneof(
    fc.constantFrom("5m", "1h", "7d").map((last) => ({ kind: "last" as const, last })),
    fc
      .tuple(
        fc.integer({ min: 1.6e12, max: 1.9e12 }).map((n) => Math.round(n)),
        fc.integer({ min: 1, max: 1e9 }),
      )
      .map(([from, length]) => ({ kind: "between" as const, from, to: from + length })),
  ),
  table: fc.boolean(),
  focus: fc.oneof(fc.constant(""), text),
  hops: fc.integer({ min: 1, max: 9 }),
  find: fc.uniqueArray(condition, { selector: formatCondition, maxLength: 4 }),
  hide: fc.uniqueArray(condition, { selector: formatCondition, maxLength: 4 }),
  fold: fc.constantFrom("auto", "all", "none"),
  open: fc.uniqueArray(text, { maxLength: 3 }),
  closed: fc.uniqueArray(text, { maxLength: 3 }),
  compare: fc.constantFrom(undefined, ...earlier),
  telemetry: fc.boolean(),
  proxies: fc.boolean(),
  selection: fc.oneof(
    fc.constant(undefined),
    text.map((id) => ({ kind: "node" as const, id })),
    text.map((id) => ({ kind: "group" as const, id })),
    fc
      .tuple(text, text, fc.constantFrom("call" as const, "async" as const, "telemetry" as const))
      .map(([from, to, c]) => ({ kind: "edge" as const, from, to, class: c })),
  ),
  sort: fc.constantFrom(...mapColumns),
  descending: fc.boolean(),
  rest: fc.array(
    fc.tuple(
      fc.constantFrom("x", "uiEmbed", "a b"),
      fc.string().map((s) => s.toWellFormed()),
    ),
    { maxLength: 2 },
  ),
});

describe("the map's URL", () => {
  test("gives the view back", () => {
    fc.assert(
      fc.property(view, (v) => {
        expect(parseMap(formatMap(v))).toEqual(v);
      }),
    );
  });
  test("any text is a view, and its form is stable", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (query) => {
        const once = formatMap(parseMap(query));
        expect(formatMap(parseMap(once))).toBe(once);
      }),
    );
  });
  test("the plain map has no parameters", () => {
    expect(formatMap(parseMap(""))).toBe("");
  });
  test("what no longer parses is left out", () => {
    const v = parseMap("find=errors>x&find=errors>5%25&hops=44&fold=x&compare=2h&sort=-color&node=");
    expect(v.find).toEqual([{ field: "errors", op: ">", value: 0.05 }]);
    expect([v.hops, v.fold, v.compare, v.sort, v.selection]).toEqual([
      1,
      "auto",
      undefined,
      "rate",
      undefined,
    ]);
  });
  test("focus on a node", () => {
    expect(mapFocus("service/shop/web", { kind: "last", last: "1h" })).toBe(
      "focus=service/shop/web&hops=2&node=service/shop/web",
    );
  });
});

describe("conditions", () => {
  test.each([
    ["errors>5%", { field: "errors", op: ">", value: 0.05 }],
    ["errors<0.5", { field: "errors", op: "<", value: 0.005 }],
    ["p95>200ms", { field: "p95", op: ">", value: 200e6 }],
    ["rate<0.1", { field: "rate", op: "<", value: 0.1 }],
    ["mtls=off", { field: "mtls", op: "=", value: "off" }],
    ["ns=shop", { field: "ns", op: "=", value: "shop" }],
    ["name~a=b", { field: "name", op: "~", value: "a=b" }],
    ["kind=database", { field: "kind", op: "=", value: "database" }],
  ])("%s", (source, want) => expect(parseCondition(source)).toEqual(want));
  test.each([
    "",
    "errors",
    "errors=5%",
    "errors>",
    "p95>5",
    "rate>5%",
    "kind=x",
    "mtls=yes",
    "ns>a",
    "other=1",
  ])("%s is none", (source) => expect(parseCondition(source)).toBeUndefined());
  test("amounts as people type them", () => {
    expect(amount("errors", " 5 %")).toBe(0.05);
    expect(amount("errors", "five")).toBeUndefined();
    expect(amount("p95", "1.5s")).toBe(1.5e9);
    expect(amount("rate", "1e400")).toBeUndefined();
  });
  test("a second bound replaces the first, a second namespace does not", () => {
    const five: Condition = { field: "errors", op: ">", value: 0.05 };
    const one: Condition = { field: "errors", op: ">", value: 0.01 };
    const shop: Condition = { field: "ns", op: "=", value: "shop" };
    const pay: Condition = { field: "ns", op: "=", value: "pay" };
    expect(withCondition([five], one)).toEqual([one]);
    expect(withCondition(withCondition([five], shop), pay)).toEqual([five, shop, pay]);
    expect(withCondition([shop], shop)).toEqual([shop]);
  });
});
