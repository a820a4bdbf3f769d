// @vitest-environment node
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { responseFlags } from "../model/envoy";
import { en as enMain } from "./en";
import { helpTexts as enHelp, termGroups } from "./en/help";
import { meshTexts as enMesh } from "./en/mesh";
import { makeFormat } from "./format";
import { ko as koMain } from "./ko";
import { helpTexts as koHelp } from "./ko/help";
import { meshTexts as koMesh } from "./ko/mesh";

// The help page and the mesh screen bring their own texts; they follow the same rules.
const en = { ...enMain, helpPage: enHelp, meshPage: enMesh };
const ko = { ...koMain, helpPage: koHelp, meshPage: koMesh };

/** Every text with its place, functions called with something visible. */
function texts(value: unknown, path = ""): [string, string][] {
  if (typeof value === "string") return [[path, value]];
  if (typeof value === "function") return [[path, String(value("7", "8", "9", "10", "11"))]];
  if (Array.isArray(value)) return value.flatMap((v, i) => texts(v, `${path}[${i}]`));
  return Object.entries(value as object).flatMap(([k, v]) => texts(v, path ? `${path}.${k}` : k));
}

describe("dictionaries", () => {
  test("both have the same keys", () => {
    const keys = (d: unknown) =>
      texts(d)
        .map(([path]) => path)
        .sort();
    expect(keys(ko)).toEqual(keys(en));
  });
  test("no text is empty, no text mentions a missing value", () => {
    for (const [path, text] of [...texts(en), ...texts(ko)]) {
      expect(text.trim(), path).not.toBe("");
      expect(text, path).not.toMatch(/undefined|NaN|\[object/);
    }
  });
  test("Korean texts are Korean, but for names and protocol words", () => {
    const same =
      /^(code|app\.title|palette\.toggleLanguage|protocol\.|overview\.colP\d|status\.(colTls|engineName)|trace\.(json|findHits)|map\.(edgeLabel|edgeLabelFine|p\d\d)$|service\.missingEdge|doctor\.stationName|details\.(group\.http|group\.rpc|after)|keys\.or|views\.json|hopList\.partTime|helpPage\.(terms\.\w+\.example|problems\[\d\]\.command))/;
    for (const [path, text] of texts(ko)) if (!same.test(path)) expect(text, path).toMatch(/[가-힣]/);
  });
  test("Korean sentences end politely", () => {
    for (const [path, text] of texts(ko)) {
      if (!text.endsWith(".") || path.startsWith("search.mistakes")) continue;
      expect(text, path).toMatch(/(니다|니까|시오)(\([^)]*\))?\.$/);
    }
  });
  test("every response flag of Envoy has words", () => {
    for (const code of responseFlags) {
      expect(en.mesh.flag[code]).toBeTruthy();
      expect(ko.mesh.flag[code]).toBeTruthy();
    }
  });
});

test("every reason for refusing and every misuse has words in both languages", () => {
  const source = readFileSync(fileURLToPath(new URL("../../../receive/receive.go", import.meta.url)), "utf8");
  const codes = [...source.matchAll(/\b(?:Reason|Misuse) += "(\w+)"/g)].map((m) => m[1]!);
  expect(codes.length).toBeGreaterThan(10);
  for (const code of codes) {
    expect(en.status.reason[code], code).toBeTruthy();
    expect(ko.status.reason[code], code).toBeTruthy();
  }
});

test("every term of the help page is in a group", () => {
  expect(Object.keys(enHelp.terms).sort()).toEqual(Object.values(termGroups).flat().sort());
});

describe("formats", () => {
  const e = makeFormat("en");
  const k = makeFormat("ko");
  test.each([
    [0, "0 ms"],
    [850, "850 ns"],
    [12_345, "12.3 µs"],
    [23_400_000, "23.4 ms"],
    [999_600_000, "1 s"],
    [1_240_000_000, "1.24 s"],
    [125e9, "2 min 5 sec"],
    [3_725e9, "1 hr 2 min"],
    [93_784e9, "1 day 2 hr"],
  ])("%d ns is %s", (ns, text) => {
    expect(e.duration(ns)).toBe(text);
  });
  test("Korean durations", () => {
    expect(k.duration(23_400_000)).toBe("23.4 ms");
    expect(k.duration(125e9)).toBe("2분 5초");
  });
  test("axis labels tell neighbours apart", () => {
    expect([10.85e9, 10.9e9, 10.95e9].map((t) => e.axis(t, 0.05e9, 11e9))).toEqual([
      "10.85 s",
      "10.90 s",
      "10.95 s",
    ]);
    expect(e.axis(0, 20e6, 161e6)).toBe("0 ms");
    expect(e.axis(40e6, 20e6, 161e6)).toBe("40 ms");
    expect(e.axis(1500, 500, 3000)).toBe("1.5 µs");
  });
  test("ages", () => {
    const now = 1_763_712_000_000;
    expect(e.ago(now - 1000, now)).toBe("now");
    expect(e.ago(now - 50_000, now)).toBe("50 seconds ago");
    expect(e.ago(now - 120_000, now)).toBe("2 minutes ago");
    expect(k.ago(now - 120_000, now)).toBe("2분 전");
    expect(e.ago(now - 49 * 3600e3, now)).toBe("2 days ago");
  });
  test("shares, sizes and UTC", () => {
    expect(e.percent(0.0123)).toBe("1.2%");
    expect(e.percent(0.57)).toBe("57%");
    expect(e.bytes(612e6)).toBe("584 MiB");
    expect(e.bytes(12)).toBe("12 B");
    expect(e.utc(1_763_712_000_123)).toBe("2025-11-21 08:00:00.123 UTC");
    expect(e.utc(Number.NaN)).toBe("");
  });
});
