// @vitest-environment node
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { TraceSummary } from "../api/types";
import { parseDuration } from "./duration";
import { tracesCsv, tracesJson } from "./exportList";
import { type Filter, formatFilters, parseFilter, parseFilters } from "./filters";
import { nsText } from "./nsText";
import { mostRecent, readRecent, withRecent } from "./recent";
import { fromTraceQL, isTraceQL, narrowed, readQuestion, toTraceQL } from "./traceql";

const cases = readFileSync(new URL("../../../query/uiapi/testdata/filters.txt", import.meta.url), "utf8")
  .split("\n")
  .filter((line) => line && !line.startsWith("#"))
  .map((line) => line.split("  =>  ") as [string, string]);

const keyText = fc.stringMatching(/^[a-zA-Z_:./-]{1,12}$/);
const anyText = fc.string({ unit: "binary", maxLength: 20 }).filter((s) => s.isWellFormed());
const value = fc.oneof(
  anyText,
  fc.integer().map(String),
  fc.constantFrom("true", "0", "1.50", "-0", '"', "주문 {}"),
);
const filter: fc.Arbitrary<Filter> = fc.oneof(
  fc.record({
    field: fc.oneof(
      fc.constantFrom("service", "operation"),
      keyText.map((k) => `span.${k}`),
      keyText.map((k) => `scope.${k}`),
      keyText.map((k) => `.${k}`),
    ),
    op: fc.constantFrom("=", "!=", "=~", "!~") as fc.Arbitrary<Filter["op"]>,
    value,
  }),
  fc.record({
    field: keyText.map((k) => `span.${k}`),
    op: fc.constantFrom(">", "<=") as fc.Arbitrary<Filter["op"]>,
    value,
  }),
  fc.record({
    field: keyText.map((k) => `resource.${k}`),
    op: fc.constant("exists" as const),
    value: fc.constant(""),
  }),
  fc.constantFrom<Filter>(
    { field: "status", op: "=", value: "error" },
    { field: "kind", op: "!=", value: "client" },
    { field: "duration", op: ">=", value: "1.5ms" },
    { field: "traceDuration", op: "<", value: "1m30s" },
    { field: "root", op: "=", value: "true" },
  ),
);

describe("chips and TraceQL", () => {
  test.each(cases)("%s is %s", (chips, query) => {
    const filters = (JSON.parse(chips) as string[]).map((text) => {
      const parsed = parseFilter(text);
      if (!parsed.ok) throw new Error(text);
      return parsed.value;
    });
    expect(toTraceQL(filters)).toBe(query);
    const days = filters.map((f) => (f.value === "1d" ? { ...f, value: "24h" } : f));
    expect(fromTraceQL(query)).toEqual(days);
  });
  test("what chips are written as, is read back to the same chips", () => {
    fc.assert(
      fc.property(fc.array(filter, { maxLength: 4 }), (filters) => {
        const text = toTraceQL(filters);
        expect(text).toBeDefined();
        expect(isTraceQL(text!)).toBe(true);
        expect(fromTraceQL(text!)).toEqual(filters);
      }),
    );
  });
  test("no filter begins like TraceQL", () => {
    fc.assert(
      fc.property(fc.array(filter, { minLength: 1, maxLength: 3 }), (filters) => {
        expect(isTraceQL(formatFilters(filters))).toBe(false);
      }),
    );
  });
  test("any text is read without an exception", () => {
    const alphabet = fc.constantFrom(
      "{",
      "}",
      "(",
      ")",
      "&&",
      "||",
      "=",
      "!=",
      '"',
      "`",
      " ",
      ".a",
      "name",
      "5ms",
      "1",
      "nil",
      "//",
      "\\",
      "é",
    );
    fc.assert(
      fc.property(fc.array(alphabet, { maxLength: 12 }), (parts) => {
        const filters = fromTraceQL(parts.join(""));
        if (filters) expect(parseFilters(formatFilters(filters)).ok).toBe(true);
      }),
    );
  });
  test.each([
    "{ a }",
    "{ .a }",
    "{ name = 5 }",
    "{ .a = .b }",
    "{ .a = 1 + 2 }",
    "{ .a = 1 } | count() > 2",
    "{ .a = 1 } && { .b = 1 }",
    "{ .a = 1 || .b = 1 }",
    "{ (.a = 1 || .a = 2) }",
    '{ (.a = 1 || .b = "1") }',
    "{ !(.a = 1) }",
    "{ .a = nil }",
    "{ status = purple }",
    '{ .a = "\\x41" }',
    "{ .a = 1 // why\n }",
    "{ span:parentID = `x` }",
    '{ ."a b" = 1 }',
    "{ .a = 1 && }",
    "{ duration > 5 }",
    "{ namespace = `x` }",
  ])("%s has no chips", (text) => expect(fromTraceQL(text)).toBeUndefined());
  test.each([
    ["{ span:name = `x` && trace:duration > 1s }", "operation=x traceDuration>1s"],
    ["{.a=`1`&&.b!=2}", ".a=1 .b!=2"],
    ["  { status = error }\n", "status=error"],
  ])("%s is %s", (text, chips) => expect(formatFilters(fromTraceQL(text)!)).toBe(chips));
  test("namespace has no TraceQL form", () => {
    expect(toTraceQL([{ field: "namespace", op: "=", value: "shop" }])).toBeUndefined();
  });
  test("a query is narrowed in its own form", () => {
    const more: Filter[] = [{ field: "duration", op: ">=", value: "15ms" }];
    const of = (text: string) => {
      const q = readQuestion(text);
      return q.ok ? narrowed(q.value, more) : undefined;
    };
    expect(of("service=a duration>1ms duration<1s")).toBe("service=a duration<1s duration>=15ms");
    expect(of("{ .a = `1` }")).toBe(".a=1 duration>=15ms");
    expect(of("{ .a = 1 || .b = 2 }")).toBe("{ (.a = 1 || .b = 2) && duration >= 15ms }");
    expect(of("{ .a = 1 || .b = 2 // x\n }")).toBe("{ (.a = 1 || .b = 2 // x\n) && duration >= 15ms }");
    expect(of("{ .a = 1 } | count() > 2")).toBeUndefined();
    expect(of("{ .a = 1 || .b = 1 } > { .c = 1 || .d = 1 }")).toBeUndefined();
  });
});

test("durations are written short and read back", () => {
  expect([0, 1, 1500, 2e6, 15e6, 1.5e9, 70e9].map(nsText)).toEqual([
    "0ns",
    "1ns",
    "1.5us",
    "2ms",
    "15ms",
    "1.5s",
    "70s",
  ]);
  fc.assert(
    fc.property(fc.maxSafeNat(), (ns) => {
      expect(parseDuration(nsText(ns))).toBe(ns);
    }),
  );
});

test("recent searches: newest first, each once, at most so many, whatever is stored", () => {
  expect(withRecent(["a", "b"], "b")).toEqual(["b", "a"]);
  expect(withRecent(["a"], "")).toEqual(["a"]);
  expect(withRecent(Array.from({ length: 40 }, String), "x")).toHaveLength(mostRecent);
  fc.assert(
    fc.property(fc.json(), (text) => {
      expect(Array.isArray(readRecent(text))).toBe(true);
    }),
  );
});

describe("export", () => {
  const trace: TraceSummary = {
    traceId: "1",
    start: "1767229190000000123",
    duration: 5,
    rootService: '=HYPERLINK("x")',
    rootOperation: "a,b\nc",
    spans: 1,
    errors: 0,
    matched: 1,
    maybeIncomplete: false,
    services: [{ name: "s", slot: 0, spans: 1, errors: 0 }],
  };
  test("CSV quotes what needs it and defuses formulas", () => {
    expect(tracesCsv([trace]).split("\r\n")[1]).toBe(
      '1,2026-01-01T00:59:50.000000123Z,5,"\'=HYPERLINK(""x"")","a,b\nc",1,0,1,s',
    );
  });
  test("JSON holds the traces and what found them", () => {
    expect(JSON.parse(tracesJson([trace], { search: "q=a", complete: true }))).toEqual({
      search: "q=a",
      complete: true,
      traces: [trace],
    });
  });
});
