import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { correctClocks } from "./clocks";
import { criticalPath, packPath } from "./criticalPath";
import { layLanes, sumFlame } from "./flame";
import { checkTemplate, logContext, logPresets, logUrl, logVariables, readTemplates } from "./logLinks";
import { selfTimes } from "./selfTime";
import { sortLines, summarize } from "./summary";
import { anyTrace, read } from "./testTraces";
import { flag } from "./trace";
import { buffersOf, parseSkeleton } from "./work";

describe("self time", () => {
  test("children that overlap count once, and are cut to their parent", () => {
    const t = read(`
      root web 0+100
        a api 10+20
        b api 20+30
        c api 90+40
          d db 95+5
    `);
    expect([...selfTimes(t)]).toEqual([50, 20, 30, 35, 5]);
  });
  test("a placeholder has none and takes none away", () => {
    const t = read(`
      root web 0+100
        gone db 0+0 m
          late db 50+20
    `);
    expect([...selfTimes(t)]).toEqual([100, 0, 20]);
  });
  test("is never more than the duration and never negative", () => {
    fc.assert(
      fc.property(anyTrace, (t) => {
        for (const [r, s] of selfTimes(t).entries()) {
          expect(s).toBeGreaterThanOrEqual(0);
          expect(s).toBeLessThanOrEqual(t.duration[r]!);
        }
      }),
    );
  });
});

describe("the critical path", () => {
  test("its pieces follow each other and lie within their rows", () => {
    fc.assert(
      fc.property(anyTrace, (t) => {
        let at = Number.NEGATIVE_INFINITY;
        for (const p of criticalPath(t)) {
          expect(p.from).toBeGreaterThanOrEqual(at);
          expect(p.from).toBeGreaterThanOrEqual(t.start[p.row]!);
          expect(p.to).toBeLessThanOrEqual(t.start[p.row]! + t.duration[p.row]!);
          at = p.to;
        }
      }),
    );
  });
});

describe("the table", () => {
  test("sums by operation and by service, with the share of the critical path", () => {
    const t = read(`
      root web 0+100
        get api 10+20 e
        get api 40+50
    `);
    const self = selfTimes(t);
    const path = packPath(criticalPath(t));
    const lines = sortLines(summarize(t, self, path, "operation"), t, "self");
    expect(
      lines.map((l) => [t.names[l.name], l.spans, l.errors, l.total, l.self, l.longest, l.path]),
    ).toEqual([
      ["get", 2, 1, 70, 70, 50, 70],
      ["root", 1, 0, 100, 30, 100, 30],
    ]);
    expect(summarize(t, self, path, "service").map((l) => l.name)).toEqual([-1, -1]);
  });
  test("nothing is lost in it", () => {
    fc.assert(
      fc.property(anyTrace, (t) => {
        const self = selfTimes(t);
        const lines = summarize(t, self, packPath([]), "operation");
        const real = [...t.flags].filter((f) => !(f & flag.missing)).length;
        expect(lines.reduce((n, l) => n + l.spans, 0)).toBe(real);
        expect(lines.reduce((n, l) => n + l.self, 0)).toBeCloseTo([...self].reduce((a, b) => a + b, 0));
      }),
    );
  });
});

describe("the summed flame graph", () => {
  test("one node a call path, the widest first, as wide as the work below it", () => {
    const t = read(`
      root web 0+100
        get api 10+20
          query db 12+5
        get api 40+50 e
        put api 90+5
    `);
    const f = sumFlame(t, selfTimes(t));
    const node = (i: number) => [
      t.names[t.name[f.row[i]!]!],
      f.depth[i],
      f.start[i],
      f.value[i],
      f.spans[i],
      f.errors[i],
    ];
    expect(Array.from({ length: f.count }, (_, i) => node(i))).toEqual([
      ["root", 0, 0, 100, 1, 0],
      ["get", 1, 0, 70, 2, 1],
      ["query", 2, 0, 5, 1, 0],
      ["put", 1, 70, 5, 1, 0],
    ]);
    expect([...f.end]).toEqual([4, 3, 3, 4]);
  });
  test("children lie side by side within their parent, also for deep traces", () => {
    fc.assert(
      fc.property(anyTrace, (t) => {
        const f = sumFlame(t, selfTimes(t));
        const until = new Map<number, number>();
        for (let i = 0; i < f.count; i++) {
          const p = f.parent[i]!;
          if (p < 0) continue;
          expect(f.start[i]).toBeGreaterThanOrEqual((until.get(p) ?? f.start[p]!) - 1e-6);
          until.set(p, f.start[i]! + f.value[i]!);
          expect(until.get(p)).toBeLessThanOrEqual(f.start[p]! + f.value[p]! + 1e-6);
        }
      }),
    );
  });
});

describe("the flame graph in time", () => {
  test("no two spans of a lane run at once, and children lie below", () => {
    fc.assert(
      fc.property(anyTrace, (t) => {
        const l = layLanes(t);
        for (let k = 0; k < l.count; k++) {
          let until = Number.NEGATIVE_INFINITY;
          const rows = [...l.order.subarray(l.offset[k]!, l.offset[k + 1]!)].sort(
            (a, b) => t.start[a]! - t.start[b]!,
          );
          expect(rows.length).toBeGreaterThan(0);
          for (const r of rows) {
            expect(t.start[r]).toBeGreaterThanOrEqual(until);
            until = t.start[r]! + t.duration[r]!;
          }
        }
        for (let r = 0; r < t.n; r++) {
          const p = t.parent[r]!;
          if (l.lane[r]! >= 0 && p >= 0 && l.lane[p]! >= 0) expect(l.lane[r]).toBeGreaterThan(l.lane[p]!);
        }
      }),
    );
  });
  test("20,000 children at once and a chain of 5,000", () => {
    const wide = read(`root web 0+100\n${"  c api 10+10\n".repeat(20_000)}`);
    expect(layLanes(wide).count).toBe(20_001);
    const deep = read(
      Array.from({ length: 5000 }, (_, i) => `${"  ".repeat(i)}s${i} web ${i}+${10_000 - 2 * i}`).join("\n"),
    );
    expect(layLanes(deep).count).toBe(5000);
    expect(sumFlame(deep, selfTimes(deep)).deepest).toBe(4999);
    expect(criticalPath(deep).length).toBeGreaterThan(4999);
  });
});

describe("corrected clocks", () => {
  const clock = (shift: number) => ({ name: "n", shift, low: 0, high: 0, pairs: 1, linked: true });
  test("shift the rows of a clock, and begin at 0 again", () => {
    const t = read(`
      root web 100+50 o
        call api 40+10 o
        other web 110+5
    `);
    const c = correctClocks(t, [clock(0), clock(80)], [0, 1, 0]);
    expect([...c.start]).toEqual([0, 20, 10]);
    expect(c.traceDuration).toBe(50);
    expect(c.traceStart).toBe("100");
    expect(c.flags[1]! & flag.outsideParent).toBe(0);
    expect([...t.start]).toEqual([100, 40, 110]);
  });
  test("without a difference, or for another trace, it is the same trace", () => {
    const t = read("root web 0+50");
    expect(correctClocks(t, [clock(0)], [0])).toBe(t);
    expect(correctClocks(t, [clock(5)], [0, 0])).toBe(t);
  });
});

describe("links to logs", () => {
  /** Any code points, halves of surrogate pairs among them; fast-check's own take seconds to be made. */
  const anyCharacters = fc
    .array(fc.oneof(fc.nat(0x10ffff), fc.integer({ min: 32, max: 126 })), { maxLength: 30 })
    .map((codes) => String.fromCodePoint(...codes));
  const t = read("root web 1000000000+50000000");
  const context = logContext(t, 0, "00000000000000aa", 'pod"1', "1763712000000000000");
  test("every preset is fine once its host is filled in, and becomes a link with the id", () => {
    for (const preset of logPresets) {
      expect(checkTemplate(preset)?.problem).toBe("host");
      const template = { ...preset, url: preset.url.replace("HOST", "logs.example.org") };
      expect(checkTemplate(template), preset.name).toBeUndefined();
      const url = new URL(logUrl(template, context));
      expect(url.protocol).toBe("https:");
      expect(url.host).toBe("logs.example.org");
      expect(url.href).toContain(t.traceId);
    }
  });
  test("Loki's JSON stays JSON", () => {
    const url = new URL(logUrl({ name: "l", url: logPresets[1]!.url.replace("HOST", "h") }, context));
    const panes = JSON.parse(url.searchParams.get("panes")!);
    expect(panes.a.queries[0].expr).toBe(`{namespace="ns"} |= "${t.traceId}"`);
  });
  test("whatever a span is called, the link leads where the template says", () => {
    fc.assert(
      fc.property(anyCharacters, (text) => {
        const hostile = { ...context, pod: text, service: text };
        const url = new URL(logUrl({ name: "x", url: "https://h/a?q={pod}&s={service}#f" }, hostile));
        expect([url.host, url.pathname, url.hash]).toEqual(["h", "/a", "#f"]);
        expect([...url.searchParams.keys()]).toEqual(["q", "s"]);
        expect(url.searchParams.get("q")).not.toMatch(/["'\\]/);
      }),
    );
  });
  test.each([
    ["javascript:alert(1)//{traceId}", "notHttp"],
    ["https://{service}.example.org/", "notHttp"],
    ["https://h/{traceid}", "unknownVariable"],
    ["", "noUrl"],
    [`https://h/${"x".repeat(5000)}`, "tooLong"],
    ["https://HOST/x", "host"],
  ])("%s is refused", (url, problem) => {
    expect(checkTemplate({ name: "x", url })?.problem).toBe(problem);
  });
  test("stored templates are checked again", () => {
    expect(readTemplates("x")).toEqual([]);
    expect(
      readTemplates([
        null,
        1,
        { name: "a", url: "javascript:x" },
        { name: "b", url: "https://h/{podd}" },
        { name: "c", url: "https://h/{pod}", more: 1 },
      ]),
    ).toEqual([{ name: "c", url: "https://h/{pod}" }]);
  });
  test("every variable has a value", () => {
    for (const v of logVariables) if (v !== "pod") expect(context[v]).not.toBe("");
    expect(context.startIso).toBe("2025-11-21T07:59:55.000Z");
  });
});

test("what goes through the worker: pieces of bytes, buffers to hand over", () => {
  const skeleton = {
    traceId: "1",
    start: "0",
    duration: 5,
    maybeIncomplete: false,
    spanCount: 1,
    errorCount: 0,
    depth: 1,
    services: [{ name: "서비스", group: "", namespace: "", slot: 0 }],
    names: ["n"],
    spans: {
      id: ["00000000000000aa"],
      parent: [-1],
      start: [0],
      duration: [5],
      service: [0],
      name: [0],
      kind: [2],
      flags: [0],
      hop: [-1],
    },
    warnings: [],
  };
  const bytes = new TextEncoder().encode(JSON.stringify(skeleton));
  for (let cut = 0; cut < bytes.length; cut += 7) {
    const t = parseSkeleton([bytes.slice(0, cut), bytes.slice(cut)]);
    expect(t.services[0]?.name).toBe("서비스");
    expect(buffersOf(t)).toHaveLength(13);
  }
});
