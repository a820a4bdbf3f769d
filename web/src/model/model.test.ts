import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isLoopback, reachable } from "./address";
import type { Apart } from "./apart";
import { grouped, matches } from "./attributes";
import { niceStep, parseDuration, scaleDuration } from "./duration";
import { meshFacts, readCluster, shortHost, shortOperation } from "./envoy";
import {
  apiFilter,
  type Filter,
  formatFilter,
  formatFilters,
  guessFilter,
  ops,
  parseFilter,
  parseFilters,
  withFilter,
} from "./filters";
import { canonicalId, readPasted } from "./ids";
import { formatOverview, parseOverview } from "./overviewUrl";
import { formatSearch, fromJaegerLink, parseSearch, questionOf } from "./searchUrl";
import { instantMs, isoInstant, lastMs, msInstant, parseIso, rangeWindow, wider } from "./time";
import { formatTrace, fromJaegerTrace, groupings, parseTrace, tableColumns, traceViews } from "./traceUrl";
import { barOf, clampWindow, fitTo, isFull, pan, zoom } from "./window";

// ---- arbitrary values

const keyText = fc.stringMatching(/^[a-zA-Z_:./-]{1,12}$/);
const field = fc.oneof(
  fc.constantFrom("service", "operation", "namespace"),
  keyText.map((k) => `span.${k}`),
  keyText.map((k) => `resource.${k}`),
  keyText.map((k) => `.${k}`),
);
const anyText = fc.string({ unit: "binary", maxLength: 20 }).filter((s) => s.isWellFormed());
const filter: fc.Arbitrary<Filter> = fc.oneof(
  fc.record({
    field,
    op: fc.constantFrom("=", "!=", "=~", "!~") as fc.Arbitrary<Filter["op"]>,
    value: anyText,
  }),
  fc.record({ field, op: fc.constant("exists" as const), value: fc.constant("") }),
  fc.record({
    field: fc.constantFrom("duration", "traceDuration"),
    op: fc.constantFrom(">", ">=", "<", "<=") as fc.Arbitrary<Filter["op"]>,
    value: fc.constantFrom("1ms", "250ms", "1.5s", "2m", "1m30s"),
  }),
);
const range = fc.oneof(
  fc.constantFrom("5m", "1h", "36h", "7d").map((last) => ({ kind: "last" as const, last })),
  fc
    .tuple(fc.integer({ min: 1e12, max: 2e12 }), fc.integer({ min: 1, max: 1e9 }))
    .map(([from, d]) => ({ kind: "between" as const, from, to: from + d })),
);
const rest = fc.array(
  fc.tuple(
    anyText.filter(
      (k) =>
        k !== "" &&
        !/^(q|last|from|to|limit|sort|apart|find|span|w|level|x|hops|hx|hide|errors|critical|view|clock|by|flame|root)$/.test(
          k,
        ),
    ),
    anyText.filter((v) => v !== ""),
  ) as fc.Arbitrary<[string, string]>,
  { maxLength: 3 },
);
const ref = fc
  .tuple(fc.stringMatching(/^[0-9a-f]{16}$/), fc.option(fc.integer({ min: 1, max: 99999 })))
  .map(([id, nth]) => (nth === null ? id : `${id}~${nth}`));
const refs = fc.uniqueArray(ref, { maxLength: 4 });
const apart: fc.Arbitrary<Apart> = fc.oneof(
  fc.constantFrom({ kind: "slow" as const }, { kind: "failed" as const }),
  fc
    .tuple(
      fc.integer({ min: 1e12, max: 2e12 }),
      fc.integer({ min: 1, max: 1e9 }),
      fc.maxSafeNat(),
      fc.integer({ min: 0, max: 1e12 }),
    )
    .map(([from, d, least, more]) => ({
      kind: "area" as const,
      from,
      to: from + d,
      least,
      most: more === 0 || !Number.isSafeInteger(least + more) ? 0 : least + more,
    })),
);
const trimmed = anyText.map((s) => s.trim());

// ---- codecs

describe("URL codecs give back what they were given", () => {
  test("filters, as a line", () => {
    fc.assert(
      fc.property(fc.array(filter, { maxLength: 4 }), (filters) => {
        expect(parseFilters(formatFilters(filters))).toEqual({ ok: true, value: filters });
      }),
    );
  });
  test("one filter, as the API takes it", () => {
    fc.assert(
      fc.property(filter, (f) => {
        // The API's form ends with the parameter, so the line's splitter does not apply to it.
        expect(parseFilter(apiFilter(f))).toEqual({ ok: true, value: f });
      }),
    );
  });
  test("search", () => {
    fc.assert(
      fc.property(
        fc.record({
          query: trimmed,
          range,
          limit: fc.integer({ min: 1, max: 1000 }),
          sort: fc.constantFrom("newest" as const, "longest" as const, "errors" as const, "spans" as const),
          apart: fc.option(apart, { nil: undefined }),
          rest,
        }),
        (v) => {
          expect(parseSearch(formatSearch(v))).toEqual(v);
        },
      ),
    );
  });
  test("overview", () => {
    fc.assert(
      fc.property(
        fc.record({
          range,
          sort: fc.constantFrom("name" as const, "rate" as const, "errors" as const, "p99" as const),
          descending: fc.boolean(),
          find: anyText,
          rest,
        }),
        (v) => {
          expect(parseOverview(formatOverview(v))).toEqual(v);
        },
      ),
    );
  });
  test("trace", () => {
    fc.assert(
      fc.property(
        fc.record({
          view: fc.option(fc.constantFrom(...traceViews), { nil: undefined }),
          corrected: fc.boolean(),
          group: fc.constantFrom(...groupings),
          sort: fc.constantFrom(...tableColumns),
          inTime: fc.boolean(),
          root: fc.option(ref, { nil: undefined }),
          span: fc.option(ref, { nil: undefined }),
          window: fc.option(
            fc
              .tuple(fc.nat(1e12), fc.integer({ min: 1, max: 1e12 }))
              .map(([a, d]): readonly [number, number] => [a, a + d]),
            { nil: undefined },
          ),
          level: fc.option(fc.integer({ min: 1, max: 9999 }), { nil: undefined }),
          except: refs,
          hops: fc.constantFrom("folded" as const, "all" as const, "none" as const),
          hopExcept: refs,
          hide: fc.uniqueArray(
            anyText.filter((s) => s !== ""),
            { maxLength: 3 },
          ),
          onlyErrors: fc.boolean(),
          critical: fc.boolean(),
          find: anyText,
          rest,
        }),
        (v) => {
          expect(parseTrace(formatTrace(v))).toEqual(v);
        },
      ),
    );
  });
  test("a parameter nobody knows, with an equals sign in its name", () => {
    const v = parseSearch("%3D=1&a%3Db=c%3Dd");
    expect(v.rest).toEqual([
      ["=", "1"],
      ["a=b", "c=d"],
    ]);
    expect(parseSearch(formatSearch(v))).toEqual(v);
  });
  test("no query makes them throw", () => {
    fc.assert(
      fc.property(anyText, (q) => {
        parseSearch(q);
        parseTrace(q);
        parseOverview(q);
        fromJaegerLink(q);
        fromJaegerTrace(q);
      }),
    );
  });
});

describe("filters", () => {
  test.each([
    ["service=productpage", { field: "service", op: "=", value: "productpage" }],
    ["serviceName=productpage", { field: "service", op: "=", value: "productpage" }],
    ['name="GET /reviews"', { field: "operation", op: "=", value: "GET /reviews" }],
    ["duration>250ms", { field: "duration", op: ">", value: "250ms" }],
    ["traceDuration<=1.5s", { field: "traceDuration", op: "<=", value: "1.5s" }],
    ["span.http.status_code!=200", { field: "span.http.status_code", op: "!=", value: "200" }],
    ["span.http.url=a=b", { field: "span.http.url", op: "=", value: "a=b" }],
    [".guid:x-request-id?", { field: ".guid:x-request-id", op: "exists", value: "" }],
    ['operation=~"a \\"b\\" \\\\d"', { field: "operation", op: "=~", value: 'a "b" \\d' }],
    ["status=error", { field: "status", op: "=", value: "error" }],
  ])("%s", (text, want) => {
    expect(parseFilter(text)).toEqual({ ok: true, value: want });
  });

  test.each([
    ["productpage", "noOp"],
    ["=x", "noField"],
    ["foo=x", "unknownField"],
    ["service=", "noValue"],
    ["duration>fast", "badDuration"],
    ["duration=~1s", "badOp"],
    ["status=500", "badStatus"],
    ["kind=proxy", "badKind"],
    ["service>x", "badOp"],
    ['service="x', "openQuote"],
    ["span.=x", "unknownField"],
  ])("%s is %s", (text, problem) => {
    const got = parseFilter(text);
    expect(got.ok ? "fine" : got.mistake.problem).toBe(problem);
  });

  test("a mistake says where it stands", () => {
    const got = parseFilters("service=a  oops duration>1s");
    expect(got).toEqual({ ok: false, mistake: { problem: "noOp", text: "oops", at: 11 } });
  });
  test("Korean text and spaces", () => {
    const filters: Filter[] = [{ field: "operation", op: "=", value: "주문 조회" }];
    expect(formatFilters(filters)).toBe('operation="주문 조회"');
    expect(parseFilters(formatFilters(filters))).toEqual({ ok: true, value: filters });
  });
  test("the API's form has no needless quotes", () => {
    expect(apiFilter({ field: "operation", op: "=", value: "GET /x" })).toBe("operation=GET /x");
    expect(apiFilter({ field: "operation", op: "=", value: "~x" })).toBe('operation="~x"');
  });
  test("a second value of a field replaces the first, other conditions stay", () => {
    let f: Filter[] = [];
    for (const t of [
      "service=a",
      "duration>1s",
      "span.x!=1",
      "span.x!=2",
      "service=b",
      "duration>=2s",
      "duration<9s",
    ]) {
      const p = parseFilter(t);
      if (p.ok) f = withFilter(f, p.value);
    }
    expect(f.map(formatFilter)).toEqual([
      "service=b",
      "duration>=2s",
      "span.x!=1",
      "span.x!=2",
      "duration<9s",
    ]);
  });
  test("a bare word becomes part of a name", () => {
    expect(guessFilter("/cart (v2)")).toEqual({ field: "operation", op: "=~", value: ".*/cart \\(v2\\).*" });
  });
  test("every operator is read as the longest one", () => {
    for (const op of ops) {
      const p = parseFilter(`span.x${op}1`);
      expect(p.ok && p.value.op).toBe(op);
    }
  });
});

describe("pasted text", () => {
  const id = "0af7651916cd43dd8448eb211c80319c";
  const span = "b7ad6b7169203331";
  test.each([
    [id, id, undefined],
    [`  ${id.toUpperCase()}\n`, id, undefined],
    [`0x${id}`, id, undefined],
    ["8448eb211c80319c", "8448eb211c80319c", undefined],
    [`00-${id}-${span}-01`, id, span],
    [`traceparent: 00-${id}-${span}-01`, id, span],
    [`cc-${id}-${span}-01-what-later-versions-add`, id, span],
    [`${id}-${span}-1`, id, span],
    [`b3: ${id}-${span}-d-05e3ac9a4f6e3b90`, id, span],
    [`8448eb211c80319c-${span}`, "8448eb211c80319c", span],
    [`X-B3-TraceId: ${id}`, id, undefined],
    [`${id}:${span}:0:1`, id, span],
    [`https://spanloom.example.com/jaeger/trace/${id}?uiFind=${span}`, id, undefined],
  ])("%s", (text, traceId, spanId) => {
    expect(readPasted(text)).toEqual(
      spanId ? { kind: "trace", traceId, spanId } : { kind: "trace", traceId },
    );
  });
  test.each(["cafe", "deadbeef", "00000000000000000000000000000000", "GET /x", "", `${id}0`, "service=a"])(
    "%j is no id",
    (text) => {
      expect(readPasted(text)).toBeUndefined();
    },
  );
  test("x-request-id", () => {
    const requestId = "0f6d3b1c-9b1f-4a53-9d0e-52f1a2b6c7d8";
    expect(readPasted(requestId)).toEqual({ kind: "request", requestId });
    expect(readPasted(`x-request-id: ${requestId.toUpperCase()}`)).toEqual({ kind: "request", requestId });
    expect(readPasted(`-H 'x-request-id: ${requestId}'`)).toEqual({ kind: "request", requestId });
    expect(readPasted(`x-request-id: ${id}`)).toEqual({ kind: "request", requestId: id });
    expect(readPasted("x-request-id: ")).toBeUndefined();
  });
  test("lines of headers", () => {
    const b3 = `X-B3-SpanId: 00f067aa0ba902b7\r\nX-B3-TraceId: ${id}\nX-B3-Sampled: 1`;
    expect(readPasted(b3)).toEqual({ kind: "trace", traceId: id });
    expect(readPasted("host: example.com\naccept: */*")).toBeUndefined();
    expect(readPasted(`> traceparent: 00-${id}-00f067aa0ba902b7-01`)).toEqual({
      kind: "trace",
      traceId: id,
      spanId: "00f067aa0ba902b7",
    });
  });
  test("canonical ids", () => {
    expect(canonicalId("0xAB", 16)).toBe("00000000000000ab");
    expect(canonicalId("1".repeat(17), 32)).toBe(`${"0".repeat(15)}${"1".repeat(17)}`);
    expect(canonicalId("1".repeat(17), 16)).toBeUndefined();
    expect(canonicalId("0", 16)).toBeUndefined();
  });
});

test("addresses of listeners", () => {
  expect(isLoopback("127.0.0.1:9411") && isLoopback("[::1]:9411")).toBe(true);
  expect(isLoopback("[::]:9411") || isLoopback("10.0.0.1:9411")).toBe(false);
  expect(reachable("[::]:9411", "tracing.example.com")).toBe("tracing.example.com:9411");
  expect(reachable("0.0.0.0:4317", "10.0.0.5")).toBe("10.0.0.5:4317");
  expect(reachable("10.0.0.1:9411", "x")).toBe("10.0.0.1:9411");
});

describe("links made for Jaeger", () => {
  test("Kiali's search link", () => {
    const link = fromJaegerLink(
      "service=productpage.bookinfo&limit=100&start=1763712000000000&end=1763715600000000&tags=%7B%22http.status_code%22%3A%22503%22%2C%22error%22%3A%22true%22%7D&minDuration=100ms&uiEmbed=v0",
    );
    expect(link?.kind).toBe("search");
    if (link?.kind !== "search") return;
    expect(link.view.query).toBe(
      "service=productpage.bookinfo .http.status_code=503 status=error duration>=100ms",
    );
    expect(link.view.range).toEqual({ kind: "between", from: 1763712000000, to: 1763715600000 });
    expect(link.view.limit).toBe(100);
    expect(link.view.rest).toEqual([["uiEmbed", "v0"]]);
    expect(questionOf(link.view).ok).toBe(true);
  });
  test("operation all, lookback, damaged tags, one trace", () => {
    const link = fromJaegerLink("service=a&operation=all&lookback=2d&tags=%7B%22x");
    expect(link?.kind === "search" && link.view).toMatchObject({ query: "service=a", range: { last: "2d" } });
    expect(fromJaegerLink("traceID=8448eb211c80319c")).toEqual({
      kind: "trace",
      traceId: "8448eb211c80319c",
    });
    expect(fromJaegerLink("q=service%3Da&last=1h")).toBeUndefined();
    expect(fromJaegerLink("")).toBeUndefined();
  });
  test("uiFind is a span or a text", () => {
    expect(fromJaegerTrace("uiFind=b7ad6b7169203331&uiEmbed=v0")).toMatchObject({
      span: "b7ad6b7169203331",
      rest: [["uiEmbed", "v0"]],
    });
    expect(fromJaegerTrace("uiFind=GET%20/x")).toMatchObject({ find: "GET /x" });
    expect(fromJaegerTrace("span=b7ad6b7169203331")).toBeUndefined();
  });
});

describe("durations and instants", () => {
  test.each([
    ["250ms", 250e6],
    ["1.5s", 1.5e9],
    ["1m30s", 90e9],
    ["100us", 1e5],
    ["100µs", 1e5],
    ["2h", 7200e9],
    ["5", undefined],
    ["", undefined],
    ["-1s", undefined],
    ["1 s", undefined],
  ])("%s", (text, ns) => expect(parseDuration(text)).toBe(ns));
  test("scale", () => {
    expect(scaleDuration(0)).toEqual({ value: 0, unit: "ms" });
    expect(scaleDuration(850)).toEqual({ value: 850, unit: "ns" });
    expect(scaleDuration(999_900)).toEqual({ value: 0.9999, unit: "ms" });
    expect(scaleDuration(61e9)).toEqual({ value: 61, unit: "s" });
  });
  test("nice steps", () => {
    expect(niceStep(100, 5)).toBe(20);
    expect(niceStep(45e6, 5)).toBe(10e6);
    expect(niceStep(0, 5)).toBe(1);
  });
  test("instants keep microseconds", () => {
    expect(instantMs("1763712000123456789")).toBe(1763712000123.456);
    expect(instantMs(undefined)).toBeNaN();
    expect(instantMs("soon")).toBeNaN();
    expect(msInstant(1763712000123.456)).toBe("1763712000123456000");
    expect(parseIso(isoInstant(1763712000123))).toBe(1763712000123);
    expect(parseIso("yesterday")).toBeUndefined();
  });
  test("ranges", () => {
    expect(rangeWindow({ kind: "last", last: "7d" })).toEqual({ start: "168h" });
    expect(lastMs("15m")).toBe(900e3);
    expect(wider({ kind: "last", last: "1h" }, 0)).toEqual({ kind: "last", last: "6h" });
    expect(wider({ kind: "last", last: "7d" }, 0)).toBeUndefined();
  });
});

describe("time window of a trace", () => {
  const window = fc.tuple(
    fc.double({ min: -1e12, max: 1e12, noNaN: true }),
    fc.double({ min: 0, max: 1e12, noNaN: true }),
  );
  test("stays inside the trace and never turns inside out", () => {
    fc.assert(
      fc.property(window, fc.integer({ min: 0, max: 1e12 }), (w, duration) => {
        const [from, to] = clampWindow(w, duration);
        expect(from).toBeGreaterThanOrEqual(0);
        expect(to).toBeGreaterThan(from);
        expect(to).toBeLessThanOrEqual(Math.max(1, duration) + 1);
      }),
    );
  });
  test("zoom holds the point under the pointer, pan keeps the length", () => {
    expect(zoom([0, 1e6], 0.5, 0.5, 1e6)).toEqual([250000, 750000]);
    expect(pan([0, 1e5], 0.5, 1e6)).toEqual([50000, 150000]);
    expect(pan([9e5, 1e6], 1, 1e6)).toEqual([9e5, 1e6]);
    expect(isFull(zoom([2e5, 4e5], 100, 0.5, 1e6), 1e6)).toBe(true);
    expect(fitTo(1e5, 1e5, 1e6)).toEqual([9e4, 2.1e5]);
  });
  test("a bar is never too thin to see", () => {
    expect(barOf(50, 0, [0, 100], 200)).toEqual([100, 1.5]);
    expect(barOf(0, 100, [0, 100], 200)).toEqual([0, 200]);
  });
});

describe("what Envoy says", () => {
  test("clusters", () => {
    expect(readCluster("outbound|9080|v1|reviews.bookinfo.svc.cluster.local;")).toEqual({
      kind: "service",
      name: "outbound|9080|v1|reviews.bookinfo.svc.cluster.local",
      port: "9080",
      subset: "v1",
      host: "reviews.bookinfo.svc.cluster.local",
    });
    expect(readCluster("inbound|9080||;").kind).toBe("inbound");
    expect(readCluster("PassthroughCluster").kind).toBe("passthrough");
    expect(readCluster("InboundPassthroughClusterIpv4").kind).toBe("passthrough");
    expect(readCluster("BlackHoleCluster").kind).toBe("blackhole");
    expect(readCluster("xds-grpc").kind).toBe("other");
    expect(shortHost("reviews.bookinfo.svc.cluster.local")).toBe("reviews.bookinfo");
    expect(shortHost("api.example.com")).toBe("api.example.com");
    expect(shortOperation("reviews.bookinfo.svc.cluster.local:9080/*")).toBe("reviews.bookinfo:9080/*");
  });
  test("facts of a failed call", () => {
    const attr = (key: string, value: unknown) => ({ key, type: "string" as const, value });
    expect(
      meshFacts([
        attr("response_flags", "UF,URX,??"),
        attr("http.status_code", "503"),
        attr("node_id", "sidecar~10.1.2.3~reviews-v1-6d.bookinfo~bookinfo.svc.cluster.local"),
        attr("upstream_cluster", "-"),
      ]),
    ).toEqual([
      { kind: "flag", code: "UF" },
      { kind: "flag", code: "URX" },
      { kind: "httpStatus", code: "503" },
      { kind: "pod", role: "sidecar", name: "reviews-v1-6d", namespace: "bookinfo" },
    ]);
  });
  test("attributes by group, in order", () => {
    const attr = (key: string, value: unknown = "v") => ({ key, type: "string" as const, value });
    const got = grouped([
      attr("zeta"),
      attr("node_id"),
      attr("http.url"),
      attr("http.method"),
      attr("error"),
    ]);
    expect(got.map((g) => [g.group, ...g.items.map((a) => a.key)])).toEqual([
      ["http", "http.method", "http.url"],
      ["mesh", "node_id"],
      ["error", "error"],
      ["other", "zeta"],
    ]);
    expect(matches(attr("k", { deep: "Needle" }), "needle")).toBe(true);
    expect(matches(attr("k", null), "x")).toBe(false);
  });
});
