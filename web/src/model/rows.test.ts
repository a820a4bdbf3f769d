import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { makeTrace as generate } from "../../e2e/generate.mjs";
import type { Skeleton } from "../api/types";
import { criticalPath, packPath, shares } from "./criticalPath";
import { errorRows, findRows, step } from "./find";
import { computeRows, hopIsFolded, membersOf, openTo, type RowRules, rowHasError } from "./rows";
import { anyTrace, read } from "./testTraces";
import {
  flag,
  rowOfRef,
  rowsOfRefs,
  spanId,
  spanRef,
  subtreeErrors,
  type Trace,
  traceOf,
  uncovered,
} from "./trace";

const plain: RowRules = {
  hops: "folded",
  hopExcept: new Set(),
  hidden: new Set(),
  onlyErrors: false,
  level: undefined,
  except: new Set(),
};

/** The displayed tree as text: `name+2` stands for a row with two spans folded into it, `>` for a closed one. */
function show(t: Trace, rules: Partial<RowRules> = {}): string {
  const rows = computeRows(t, { ...plain, ...rules });
  const out = [""];
  for (let i = 0; i < rows.count; i++) {
    const r = rows.row[i]!;
    const folded = rows.hops.folded[r]!;
    const closed = rows.children[i]! > 0 && !rows.open[i] ? ">" : "";
    out.push(`${"  ".repeat(rows.level[i]!)}${closed}${t.names[t.name[r]!]}${folded ? `+${folded}` : ""}`);
  }
  return `${out.join("\n")}\n`;
}

const row = (t: Trace, name: string) => t.name.indexOf(t.names.indexOf(name));

const shop = read(`
gw       gateway   0+100 p s
  c      front     5+60  p c h1
    s    cart      6+58  p s h1
      a  cart      7+56  s h1
        q cart     10+20 c
        c2 cart    31+30 p c e h2
          s2 stock 32+28 p s e h2
  job    front     70+20
`);

describe("hops", () => {
  test("one row a hop: the application, or the callee's proxy where there is none", () => {
    expect(show(shop)).toBe(`
gw
  a+2
    q
    s2+1
  job
`);
  });
  test("unfolded, every span has its row", () => {
    expect(show(shop, { hops: "all" })).toBe(`
gw
  c
    s
      a
        q
        c2
          s2
  job
`);
  });
  test("exceptions turn single hops around", () => {
    expect(show(shop, { hopExcept: new Set([row(shop, "c")]) })).toContain("  c\n    s\n      a\n");
    expect(show(shop, { hops: "all", hopExcept: new Set([row(shop, "c2")]) })).toContain("        s2+1\n");
    expect(show(shop, { hops: "none", hopExcept: new Set([row(shop, "c")]) })).toBe(show(shop));
  });
  test("a retried call keeps each of its tries, side by side", () => {
    const t = read(`
caller   front 0+100
  c      front 5+90  p c h1
    s1   cart  6+20  p s e h1
      a1 cart  7+18  e s h1
    s2   cart  40+20 p s h1
      a2 cart  41+18 s h1
        x cart 42+5
`);
    expect(show(t)).toBe(`
caller
  a1+2
  a2+1
    x
`);
    const rows = computeRows(t, plain);
    expect(membersOf(rows.hops, row(t, "a1")).map((r) => t.names[t.name[r]!])).toEqual(["c", "s1", "a1"]);
    expect(rowHasError(t, rows.hops, row(t, "a1"))).toBe(true);
    expect(rowHasError(t, rows.hops, row(t, "a2"))).toBe(false);
  });
  test("a retried call without spans of applications", () => {
    const t = read(`
c    front 0+100 p c h1
  s1 cart  5+20 p s e h1
  s2 cart  40+20 p s h1
`);
    expect(show(t)).toBe("\ns1+1\ns2\n");
  });
  test("a proxy alone stays, and what hung below a folded proxy hangs below its hop", () => {
    const t = read(`
c    front 0+100 p c h1
  x  other 1+5
  a  cart  10+50 s h1
    y cart 11+5
`);
    expect(show(t)).toBe(`
a+1
  x
  y
`);
    expect(show(read("c front 0+9 p c h1"))).toBe("\nc\n");
  });
  test("the caller's own client span and a callee without spans of its own both keep their rows", () => {
    const t = read(`
app      front   0+100
  get    front   5+90  c h1
    c    front   6+88  p c h1
      s1 ratings 7+20  p s e h1
      s2 ratings 40+20 p s h1
        x out    42+5  p c
  ext    front   96+3  c h2
    d    front   97+1  p c h2
`);
    expect(show(t)).toBe(`
app
  get
    s1+1
    s2
      x
  ext+1
`);
    expect(show(t, { hops: "all", hopExcept: new Set([row(t, "get")]) })).toContain(
      "  get\n    s1+1\n    s2\n",
    );
    const rows = computeRows(t, plain);
    expect(hopIsFolded(rows.hops, row(t, "get"), t.end[row(t, "get")]!)).toBe(true);
    expect(rows.hops.foldable[row(t, "get")]).toBe(1);
  });
  test("the same number in two places is two hops", () => {
    const t = read(`
r     front 0+100
  c   front 0+10 p c h1
    a cart  1+8 s h1
  d   front 20+10 p c h1
    b cart  21+8 s h1
`);
    expect(show(t)).toBe("\nr\n  a+1\n  b+1\n");
  });
});

describe("filters and folding", () => {
  test("a hidden service's children move up", () => {
    const cart = shop.services.findIndex((s) => s.name === "cart");
    expect(show(shop, { hidden: new Set([cart]) })).toBe(`
gw
  s2+1
  job
`);
  });
  test("only errors and what leads there", () => {
    expect(show(shop, { onlyErrors: true })).toBe("\ngw\n  a+2\n    s2+1\n");
    expect(show(read("a x 0+1"), { onlyErrors: true })).toBe("\n");
  });
  test("folded to a level, with exceptions", () => {
    expect(show(shop, { level: 2 })).toBe("\ngw\n  >a+2\n  job\n");
    expect(show(shop, { level: 1 })).toBe("\n>gw\n");
    expect(show(shop, { level: 1, except: new Set([0]) })).toBe("\ngw\n  >a+2\n  job\n");
    expect(show(shop, { except: new Set([row(shop, "a")]) })).toBe("\ngw\n  >a+2\n  job\n");
  });
  test("a row out of sight is brought into sight by opening what is above it", () => {
    const rules = { ...plain, level: 1 };
    const except = openTo(shop, rules, row(shop, "c2"));
    const rows = computeRows(shop, { ...rules, except });
    expect(rows.position[row(shop, "c2")]).toBeGreaterThan(0);
    expect(rows.row[rows.position[row(shop, "c2")]!]).toBe(row(shop, "s2"));
  });
  test("places among siblings", () => {
    const rows = computeRows(shop, plain);
    expect([...rows.place.slice(0, rows.count)]).toEqual([1, 1, 1, 2, 2]);
    expect([...rows.siblings.slice(0, rows.count)]).toEqual([1, 2, 2, 2, 2]);
  });
});

describe("for any trace", () => {
  const rules = fc.record({
    hops: fc.constantFrom("folded" as const, "all" as const, "none" as const),
    hopExcept: fc.uniqueArray(fc.nat(200)).map((a) => new Set(a)),
    hidden: fc.uniqueArray(fc.nat(6), { maxLength: 3 }).map((a) => new Set(a)),
    onlyErrors: fc.boolean(),
    level: fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined }),
    except: fc.uniqueArray(fc.nat(200)).map((a) => new Set(a)),
  });
  test("rows are a tree in order, each span shown at most once, none lost without a reason", () => {
    fc.assert(
      fc.property(anyTrace, rules, (t, r) => {
        const rows = computeRows(t, r);
        const seen = new Set<number>();
        for (let i = 0; i < rows.count; i++) {
          const p = rows.parent[i]!;
          expect(p).toBeLessThan(i);
          expect(rows.level[i]).toBe(p < 0 ? 0 : rows.level[p]! + 1);
          if (p >= 0) expect(rows.open[p]).toBe(1);
          expect(seen.has(rows.row[i]!)).toBe(false);
          seen.add(rows.row[i]!);
          expect(rows.position[rows.row[i]!]).toBe(i);
        }
        const all = computeRows(t, { ...r, level: undefined, except: new Set() });
        if (!r.onlyErrors && r.hidden.size === 0) {
          let spans = 0;
          for (let i = 0; i < all.count; i++) spans += 1 + all.hops.folded[all.row[i]!]!;
          expect(spans).toBe(t.n);
        }
      }),
      { numRuns: 400 },
    );
  });
  test("the critical path covers the root once, without overlap", () => {
    fc.assert(
      fc.property(anyTrace, (t) => {
        const path = criticalPath(t);
        let at = Number.NEGATIVE_INFINITY;
        let sum = 0;
        for (const p of path) {
          expect(p.from).toBeGreaterThanOrEqual(at);
          at = p.to;
          sum += p.to - p.from;
        }
        const roots = [...t.parent.keys()].filter((r) => t.parent[r] === -1);
        expect(sum).toBe(Math.max(...roots.map((r) => t.duration[r]!)));
      }),
    );
  });
});

describe("trace", () => {
  test("the same id twice has two references", () => {
    const t = read(`
a x 0+9 id7
  b y 1+5 id7
`);
    expect(spanRef(t, 0)).toBe("0000000000000007");
    expect(spanRef(t, 1)).toBe("0000000000000007~1");
    for (const r of [0, 1]) expect(rowOfRef(t, spanRef(t, r))).toBe(r);
    expect(rowOfRef(t, "0000000000000007~2")).toBe(-1);
    expect(rowsOfRefs(t, ["0000000000000007~1"])).toEqual(new Set([1]));
    const many = Array.from({ length: 9 }, (_, i) => `${i}`.padStart(16, "0"));
    expect(rowsOfRefs(t, many)).toEqual(new Set([0]));
  });
  test("ids keep all 64 bits", () => {
    const { skeleton } = generate({ seed: 5 });
    const t = traceOf(skeleton as Skeleton);
    for (let r = 0; r < t.n; r++) expect(spanId(t, r)).toBe(skeleton.spans.id[r]);
  });
  test("a parent that is no earlier row makes a root, not a crash", () => {
    const { skeleton } = generate({ seed: 5 });
    skeleton.spans.parent[3] = 99999;
    expect(traceOf(skeleton as Skeleton).parent[3]).toBe(-1);
  });
  test("gaps and errors", () => {
    const t = read(`
a x 0+10
b x 20+10 e
  c x 22+4 e
`);
    expect(uncovered(t)).toBe(10);
    expect(subtreeErrors(t, 0)).toBe(0);
    expect(subtreeErrors(t, 1)).toBe(2);
    expect([...errorRows(t)]).toEqual([1, 2]);
  });
  test("find by service, operation and id, and walk the hits", () => {
    expect([...findRows(shop, "CART")].map((r) => shop.names[shop.name[r]!])).toEqual(["s", "a", "q", "c2"]);
    expect([...findRows(shop, "job")]).toEqual([row(shop, "job")]);
    expect([...findRows(shop, "00000003")]).toEqual([2]);
    expect(findRows(shop, " ").length).toBe(0);
    const hits = Int32Array.from([2, 5]);
    expect([
      step(hits, -1, 1),
      step(hits, 2, 1),
      step(hits, 5, 1),
      step(hits, 2, -1),
      step(hits, 5, -1),
    ]).toEqual([2, 5, 2, 5, 2]);
    expect(step(new Int32Array(0), 0, 1)).toBe(-1);
  });
  test("critical path of a chain and of parallel calls", () => {
    const t = read(`
root a 0+100
  x  b 10+30
  y  c 20+60
`);
    const path = criticalPath(t).map((p) => `${t.names[t.name[p.row]!]} ${p.from}-${p.to}`);
    expect(path).toEqual(["root 0-20", "y 20-80", "root 80-100"]);
    expect(shares(t, packPath(criticalPath(t))).map((s) => [t.services[s.service]!.name, s.time])).toEqual([
      ["c", 60],
      ["a", 40],
    ]);
  });
  test("a big made-up trace is whole", () => {
    const { skeleton } = generate({ seed: 3, spans: 5000 });
    const t = traceOf(skeleton as Skeleton);
    expect(t.n).toBeGreaterThan(4000);
    expect(Math.max(...t.level) + 1).toBe(skeleton.depth);
    const rows = computeRows(t, plain);
    expect(rows.count).toBeLessThan(t.n / 1.5);
    expect(t.flags.some((f) => f & flag.missing)).toBe(true);
  });
});
