import { describe, expect, test } from "vitest";
import { makeTrace } from "../../e2e/generate.mjs";
import type { Skeleton, Span } from "../api/types";
import { carries, findRows, withSpans } from "./find";
import { flag, spanId, traceOf } from "./trace";

describe("find", () => {
  const trace = traceOf(makeTrace({ seed: 3, spans: 300 }).skeleton as Skeleton);
  test("rows by name and by what spans carry are one sorted list, without a row twice", () => {
    const named = findRows(trace, "reviews");
    expect(named.length).toBeGreaterThan(0);
    expect(withSpans(trace, named, [])).toBe(named);
    const some = [...Array(trace.n).keys()].filter((r) => r % 7 === 0 || r === named[0]);
    const got = withSpans(
      trace,
      named,
      some.map((r) => spanId(trace, r)),
    );
    const ids = new Set(some.map((r) => spanId(trace, r)));
    const want = [...Array(trace.n).keys()].filter(
      (r) => named.includes(r) || (ids.has(spanId(trace, r)) && !(trace.flags[r]! & flag.missing)),
    );
    expect([...got]).toEqual(want);
  });
  test("ids of another trace change nothing", () => {
    const named = findRows(trace, "reviews");
    expect([...withSpans(trace, named, ["ffffffffffffffff", "nothing"])]).toEqual([...named]);
  });
  const span = {
    statusMessage: "It failed",
    attributes: [
      { key: "http.status_code", type: "int", value: 503 },
      { key: "big", type: "int", value: "9007199254740993" },
      { key: "words", type: "array", value: ["a", "b"] },
      { key: "raw", type: "bytes", value: "//4=" },
    ],
    resource: [{ key: "pod", type: "string", value: "front-1" }],
    events: [{ name: "exception", attributes: [{ key: "type", type: "string", value: "Timeout" }] }],
    links: [{ traceId: "2", spanId: "b" }],
    scope: { attributes: [{ key: "k", type: "string", value: "v" }] },
  } as unknown as Span;
  for (const [text, want] of [
    ["status_code=503", true],
    ["BIG=900719925474099", true],
    ["words=b", true],
    ["pod=FRONT", true],
    ["type=time", true],
    ["exception", true],
    ["it failed", true],
    ["k=v", true],
    ["//4=", false],
    ["words=c", false],
    [" ", false],
  ] as const)
    test(`a span of a file ${want ? "carries" : "does not carry"} ${JSON.stringify(text)}`, () => {
      expect(carries(span, text)).toBe(want);
    });
});
