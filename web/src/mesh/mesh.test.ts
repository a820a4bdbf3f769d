// @vitest-environment node
import { describe, expect, test } from "vitest";
import type { Status } from "../api/types";
import { costAt, loadOf, percentOf, requestsPerTrace } from "./cost";
import { formatMesh, type MeshView, meshParams, parseMesh, toggleForm } from "./meshUrl";

const plain: MeshView = {
  protocol: "otlp",
  sampling: "",
  version: "",
  namespace: "",
  tags: [],
  for: ["configmap", "telemetry"],
  now: "",
  rest: [],
};

describe("address", () => {
  test("a form survives the address, whatever was typed", () => {
    const odd = ["", "prod", "0,5 %", "a&b=c", "한글", "1.28", "#?+"];
    for (const protocol of ["otlp", "zipkin"] as const)
      for (const a of odd)
        for (const b of odd) {
          const view: MeshView = {
            protocol,
            sampling: a,
            version: b,
            namespace: a,
            tags: [a, b, `x=${a}, ${b}`].filter((tag) => tag !== ""),
            for: ["helm", "telemetry"],
            now: b,
            rest: [["uiEmbed", "v0"]],
          };
          expect(parseMesh(formatMesh(view))).toEqual(view);
        }
  });
  test("the form as it opens is an empty address and asks for nothing", () => {
    expect(parseMesh("")).toEqual(plain);
    expect(formatMesh(plain)).toBe("");
    expect(meshParams(plain)).toEqual({});
    expect(formatMesh({ ...plain, for: [] })).toBe("");
  });
  test("what is chosen is asked for", () => {
    expect(
      meshParams(parseMesh("protocol=zipkin&sampling=dev&for=helm&tags=a%3Db&tags=c%3Dd&now=5")),
    ).toEqual({
      protocol: "zipkin",
      sampling: "dev",
      for: "helm",
      tags: ["a=b", "c=d"],
    });
  });
  test("one form stays, and an EnvoyFilter stands for the Telemetry", () => {
    expect(toggleForm(["telemetry"], "telemetry")).toEqual(["telemetry"]);
    expect(toggleForm(["configmap", "telemetry"], "envoyfilter")).toEqual(["configmap", "envoyfilter"]);
    expect(toggleForm(["telemetry"], "configmap")).toEqual(["configmap", "telemetry"]);
  });
});

test("rates", () => {
  for (const [text, want] of [
    ["dev", 100],
    ["prod-high", 0.1],
    ["0.5", 0.5],
    [" 25 % ", 25],
    ["0.001", undefined],
    ["0", undefined],
    ["101", undefined],
    ["1e1", undefined],
    ["", undefined],
    ["toString", undefined],
  ] as const)
    expect(percentOf(text), text).toBe(want);
  expect([100, 50, 30, 10, 1, 0.1, 0.01].map(requestsPerTrace)).toEqual([1, 2, 3.3, 10, 100, 1000, 10_000]);
});

describe("cost", () => {
  const status = (store: Status["store"], ...rates: number[]) =>
    ({ store, receivers: rates.map((spansPerSecond) => ({ spansPerSecond })) }) as unknown as Status;
  test("what arrives is scaled from the rate of now", () => {
    const load = loadOf(
      status(
        {
          spans: 800,
          traces: 100,
          segments: { hours: [{ spans: 100, bytes: 6000 }, { spans: 300, bytes: 18_000 }, {}] },
        },
        30,
        10,
      ),
    );
    expect(load).toEqual({ spansPerSecond: 40, bytesPerSpan: 60, spansPerTrace: 8 });
    expect(costAt(10, 1, load)).toEqual({
      spansPerSecond: 400,
      tracesPerSecond: 50,
      bytesPerDay: 400 * 60 * 86_400,
    });
    expect(costAt(1, 100, load)?.spansPerSecond).toBeCloseTo(0.4);
  });
  test("nothing is guessed", () => {
    expect(loadOf(status({}))).toEqual({
      spansPerSecond: 0,
      bytesPerSpan: undefined,
      spansPerTrace: undefined,
    });
    expect(loadOf(status({ spans: 10, traces: 5, bytes: 5000 }, 1)).bytesPerSpan).toBe(500);
    expect(
      loadOf(status({ spans: 10, traces: 5, bytes: 5000, segments: { hours: [] } }, 1)).bytesPerSpan,
    ).toBeUndefined();
    const load = { spansPerSecond: 1, bytesPerSpan: undefined, spansPerTrace: undefined };
    expect(costAt(10, undefined, load)).toBeUndefined();
    expect(costAt(10, 1, { ...load, spansPerSecond: 0 })).toBeUndefined();
    expect(costAt(10, 1, load)).toEqual({
      spansPerSecond: 10,
      tracesPerSecond: undefined,
      bytesPerDay: undefined,
    });
  });
});
