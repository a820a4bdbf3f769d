// @vitest-environment node
import { expect, test } from "vitest";
import type { Finding, Light, Report } from "./api";
import { findingsByWorkload } from "./api";
import { byTrouble, causes, findingOf, firstRed, objectText, stationNames, withTraces } from "./report";

const finding = (code: string, cause: string, more: Partial<Finding> = {}): Finding => ({
  code,
  cause,
  severity: "error",
  title: code,
  object: {},
  workloads: [],
  evidence: [],
  consequence: "",
  fix: { text: "" },
  dependsOn: [],
  docs: "",
  ...more,
});

const report = (findings: Finding[], stations: Report["stations"] = []): Report => ({
  state: "broken",
  reason: "",
  findings,
  stations,
});

const codes = (r: Report) => causes(r).causes.map((c) => [c.finding.code, c.follows.map((f) => f.code)]);

test("what follows from a cause is below it, over several steps", () => {
  const r = report([
    finding("T1", "a"),
    finding("T2", "b", { dependsOn: ["a"] }),
    finding("T3", "c", { dependsOn: ["T2"] }),
    finding("T4", "d", { dependsOn: ["not-here"] }),
    finding("T5", "e", { severity: "info", dependsOn: ["a"] }),
  ]);
  expect(codes(r)).toEqual([
    ["T1", ["T2", "T3"]],
    ["T4", []],
  ]);
  expect(causes(r).notes.map((f) => f.code)).toEqual(["T5"]);
});

test("a ring of findings hides none of them", () => {
  const r = report([finding("T1", "a", { dependsOn: ["b"] }), finding("T2", "b", { dependsOn: ["a"] })]);
  const shown = causes(r).causes.flatMap((c) => [c.finding, ...c.follows]);
  expect(new Set(shown.map((f) => f.code))).toEqual(new Set(["T1", "T2"]));
});

const chain = (workload: string, red: number) => ({
  workload,
  stations: stationNames.map((name, i) => ({
    name,
    state: (i < red ? "green" : i === red ? "red" : "unknown") as Light,
    ...(i === red ? { cause: "a" } : {}),
  })),
});

test("workloads whose path breaks earliest come first, fine ones last", () => {
  const r = report([], [chain("x", 99), chain("b", 5), chain("a", 5), chain("c", 1)]);
  expect(byTrouble(r).map((c) => c.workload)).toEqual(["c", "a", "b", "x"]);
  expect(firstRed(chain("x", 99).stations)).toBe(-1);
});

test("a red station finds its finding, that of the workload before others of the cause", () => {
  const r = report([finding("T1", "a"), finding("T2", "a", { workloads: ["ns/w"] })]);
  const red = chain("ns/w", 3).stations[3]!;
  expect(findingOf(r, "ns/w", red)?.code).toBe("T2");
  expect(findingOf(r, "ns/other", red)?.code).toBe("T1");
  expect(findingOf(r, "ns/w", chain("ns/w", 3).stations[0]!)).toBeUndefined();
});

test("findings by workload leave notes out, errors first", () => {
  const r = report([
    finding("T1", "a", { severity: "warning", workloads: ["n/w"] }),
    finding("T2", "b", { workloads: ["n/w", "n/v"] }),
    finding("T3", "c", { severity: "info", workloads: ["n/w"] }),
  ]);
  expect(
    findingsByWorkload(r)
      .get("n/w")
      ?.map((f) => f.code),
  ).toEqual(["T2", "T1"]);
  expect(findingsByWorkload(undefined).size).toBe(0);
});

test("trace ids in a line are links, other hexadecimal is not", () => {
  const id = "2329c9b9ab1765e27a3967906df791de";
  expect(withTraces(`traces ${id} and x`).map((p) => [p.text, p.trace])).toEqual([
    ["traces ", false],
    [id, true],
    [" and x", false],
  ]);
  expect(withTraces(`${id}0`).every((p) => !p.trace)).toBe(true);
  expect(withTraces("")).toEqual([]);
});

test("an object is named with its field and place", () => {
  expect(
    objectText({ kind: "Service", namespace: "m", name: "t", path: "spec.ports", file: "a.yaml", line: 3 }),
  ).toBe("Service m/t, spec.ports, a.yaml:3");
  expect(objectText({})).toBe("");
});
