import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { makeTrace as generate } from "../../e2e/generate.mjs";
import type { Skeleton } from "../api/types";
import { FileError, formatPortable, readTraceFile } from "./portable";
import { traceOf } from "./trace";

const generated = generate({ seed: 7, spans: 60 });
const skeleton = generated.skeleton as unknown as Skeleton;
const plainSpan = (id: string, more: object = {}) => ({
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: id,
  name: "GET /",
  kind: 2,
  startTimeUnixNano: "1763712000000000000",
  endTimeUnixNano: "1763712000050000000",
  ...more,
});
const otlp = (...spans: object[]) => ({
  resourceSpans: [
    {
      resource: { attributes: [{ key: "service.name", value: { stringValue: "shop" } }] },
      scopeSpans: [{ scope: { name: "lib", version: "1" }, spans }],
    },
  ],
});
const problem = (text: string) => {
  try {
    readTraceFile(text);
    return "fine";
  } catch (e) {
    if (!(e instanceof FileError)) throw e;
    return `${e.problem} ${e.at}`.trim();
  }
};

describe("a saved trace", () => {
  const first = skeleton.spans.id[0]!;
  const text = formatPortable(
    "2026-11-28T12:00:00.000Z",
    JSON.stringify(skeleton),
    undefined,
    JSON.stringify(
      otlp(plainSpan(first, { attributes: [{ key: "n", value: { intValue: "9007199254740993" } }] })),
    ),
  );
  test("opens again as it was", () => {
    const file = readTraceFile(text);
    expect(traceOf(file.skeleton)).toEqual(traceOf({ ...skeleton, maybeIncomplete: false }));
    const [span] = file.spans([first]);
    expect(span).toMatchObject({
      row: 0,
      spanId: first,
      duration: 50_000_000,
      attributes: [{ key: "n", type: "int", value: "9007199254740993" }],
      resource: [{ key: "service.name", type: "string", value: "shop" }],
    });
    expect(file.spans([skeleton.spans.id[1]!])).toEqual([]);
  });
  test("two rows of one id get the span of their kind", () => {
    const shared = structuredClone(skeleton);
    shared.spans.id[1] = first;
    shared.spans.kind[0] = 3;
    shared.spans.kind[1] = 2;
    const file = readTraceFile(
      formatPortable(
        "",
        JSON.stringify(shared),
        undefined,
        JSON.stringify(otlp(plainSpan(first), plainSpan(first, { kind: "SPAN_KIND_CLIENT" }))),
      ),
    );
    expect(file.spans([first]).map((s) => [s.row, s.kind])).toEqual([
      [0, "client"],
      [1, "server"],
    ]);
  });
  test.each([
    ["parent", [...skeleton.spans.parent.slice(0, 3), 3], "column skeleton.spans.parent"],
    ["start", skeleton.spans.start.map((_, i) => (i === 4 ? -1 : 0)), "column skeleton.spans.start[4]"],
    ["duration", skeleton.spans.start.map(() => 1.5), "column skeleton.spans.duration[0]"],
    ["service", skeleton.spans.start.map(() => 1e6), "column skeleton.spans.service[0]"],
    ["parent", skeleton.spans.start.map((_, i) => i), "column skeleton.spans.parent[0]"],
    ["id", skeleton.spans.start.map(() => "<script>"), "column skeleton.spans.id[0]"],
    ["kind", "x", "column skeleton.spans.kind"],
  ])("with a damaged column %s is refused", (name, values, wanted) => {
    const damaged = { ...skeleton, spans: { ...skeleton.spans, [name]: values } };
    expect(problem(formatPortable("", JSON.stringify(damaged), undefined, "{}"))).toBe(wanted);
  });
});

describe("other files", () => {
  test.each([
    ["", /^notJson/],
    ["{", /^notJson/],
    ["[]", /^notTrace$/],
    ["{}", /^notTrace$/],
    ['{"format":"spanloom-trace","version":2}', /^newer version 2$/],
    ['{"resourceSpans":[]}', /^empty$/],
    [JSON.stringify(otlp(plainSpan("zz"))), /^span resourceSpans\[0\]: spanId zz$/],
  ])("%s", (text, wanted) => {
    expect(problem(text)).toMatch(wanted);
  });
  test("OTLP of others: tree by parents, siblings by start, circles cut", () => {
    const file = readTraceFile(
      JSON.stringify(
        otlp(
          plainSpan("000000000000000b", {
            parentSpanId: "000000000000000a",
            startTimeUnixNano: "1763712000020000000",
          }),
          plainSpan("000000000000000c", {
            parentSpanId: "000000000000000a",
            startTimeUnixNano: "1763712000010000000",
            status: { code: 2 },
          }),
          plainSpan("000000000000000a"),
          plainSpan("000000000000000e", { parentSpanId: "000000000000000f" }),
          plainSpan("000000000000000f", { parentSpanId: "000000000000000e" }),
        ),
      ),
    );
    expect(file.skeleton.spans.id.map((x) => x.slice(-1)).join("")).toBe("acbef");
    expect(file.skeleton.spans.parent).toEqual([-1, 0, 0, -1, 3]);
    expect(file.skeleton.spans.flags).toEqual([0, 1, 0, 0, 0]);
    expect(file.skeleton.warnings).toEqual([{ kind: "cycle", rows: [], count: 1, message: "" }]);
    expect(file.skeleton.traceId).toBe("0af7651916cd43dd8448eb211c80319c");
  });
  test("Tempo's form: batches, ids in base64", () => {
    const { resourceSpans } = otlp(
      plainSpan("AAAAAAAAAAo=", { traceId: "CvdlGRbNQ92ESOshHIAxnA==", name: "x" }),
    );
    const file = readTraceFile(JSON.stringify({ batches: resourceSpans }));
    expect(file.skeleton.spans.id).toEqual(["000000000000000a"]);
    expect(file.skeleton.traceId).toBe("0af7651916cd43dd8448eb211c80319c");
  });
  test("a chain of 5,000, and duplicate ids", () => {
    const id = (i: number) => (i + 1).toString(16).padStart(16, "0");
    const chain = Array.from({ length: 5000 }, (_, i) =>
      plainSpan(id(i), i ? { parentSpanId: id(i - 1) } : {}),
    );
    expect(readTraceFile(JSON.stringify(otlp(...chain))).skeleton.depth).toBe(5000);
    const twice = readTraceFile(JSON.stringify(otlp(plainSpan(id(0)), plainSpan(id(0)))));
    expect(twice.skeleton.spans.parent).toEqual([-1, -1]);
    expect(twice.spans([id(0)]).map((s) => s.row)).toEqual([0, 1]);
  });
  test("any JSON at all is read or refused with a reason, and what is read has a sound tree", () => {
    const span = fc.record(
      {
        spanId: fc.oneof(fc.stringMatching(/^[0-9a-f]{1,16}$/), fc.jsonValue()),
        parentSpanId: fc.oneof(fc.stringMatching(/^[0-9a-f]{1,16}$/), fc.jsonValue()),
        name: fc.jsonValue(),
        kind: fc.jsonValue(),
        startTimeUnixNano: fc.oneof(fc.nat(100), fc.jsonValue()),
        endTimeUnixNano: fc.oneof(fc.nat(100), fc.jsonValue()),
        attributes: fc.array(fc.record({ key: fc.jsonValue(), value: fc.jsonValue() })),
        events: fc.jsonValue(),
        status: fc.jsonValue(),
      },
      { requiredKeys: ["spanId"] },
    );
    fc.assert(
      fc.property(fc.array(span, { maxLength: 8 }), fc.jsonValue(), (spans, noise) => {
        const text = JSON.stringify({ ...otlp(...spans), noise });
        if (problem(text) !== "fine") return;
        const file = readTraceFile(text);
        const t = traceOf(file.skeleton);
        for (let r = 0; r < t.n; r++) expect(t.parent[r]).toBeLessThan(r);
        file.spans(file.skeleton.spans.id);
      }),
    );
    fc.assert(
      fc.property(fc.jsonValue(), (v) => {
        problem(
          JSON.stringify({
            format: "spanloom-trace",
            version: 1,
            skeleton: { ...skeleton, services: v, warnings: v },
            hops: { items: v, clocks: v, clockOf: v },
            otlp: v,
          }),
        );
      }),
    );
  });
});
