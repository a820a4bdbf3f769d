import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Comparison, compareTraces, operationOf } from "./compare";
import { formatCompare, parseCompare } from "./compareUrl";
import { anyTrace, read } from "./testTraces";
import type { Trace } from "./trace";

/** The comparison as text: `kind name A>B self`. */
function lines(a: Trace, b: Trace, c: Comparison = compareTraces(a, b)): string[] {
  return c.ranked.map((i) => {
    const p = c.pairs[i]!;
    const [t, r] = p.a.length ? [a, p.a[0]!] : [b, p.b[0]!];
    return `${p.kind} ${t.names[t.name[r]!]} ${p.timeA}>${p.timeB} ${p.selfB - p.selfA}`;
  });
}

const normal = read(`
gw        gateway 0+100 p s
  front   front   5+90  s
    cart  cart    10+20 s
    stock stock   40+30 s
    old   legacy  75+5  s
`);

describe("two traces", () => {
  test("the slow call is named, not what waited for it", () => {
    const slow = read(`
gw        gateway 0+300 p s
  front   front   5+290 s
    cart  cart    10+20 s
    stock stock   40+230 s
      db  db      50+10
    old   legacy  275+5 s
`);
    expect(lines(normal, slow)).toEqual(["slower stock 30>230 190", "added db 0>10 10"]);
    expect(lines(slow, normal)).toEqual(["faster stock 230>30 -190", "gone db 10>0 -10"]);
  });
  test("a call that failed weighs more than a slow one; what is gone is one line", () => {
    const other = read(`
gw        gateway 0+100 p s
  front   front   5+90  s
    cart  cart    10+60 s
      x   db      12+2
        y db      12+1
    stock stock   72+20 s e
`);
    expect(lines(normal, other)).toEqual([
      "errors stock 30>20 -10",
      "slower cart 20>60 38",
      "faster front 90>90 -25",
      "gone old 5>0 -5",
      "added x 0>2 1",
    ]);
  });
  test("sidecars on one side only make no difference", () => {
    const bare = read(`
front front 0+100 s
  cart cart 10+20 s
`);
    const meshed = read(`
front front 0+100 s
  out  front 10+20 p c h1
    in cart  10+20 p s h1
      cart cart 10+20 s h1
`);
    expect(compareTraces(bare, meshed).ranked).toEqual([]);
  });
  test("calls with different ids are the same call, and many are one pair", () => {
    expect(operationOf("GET /cart/42/items/550e8400-e29b-41d4-a716-446655440000")).toBe(
      "GET /cart/{id}/items/{id}",
    );
    expect(operationOf("reviews.bookinfo:9080/reviews/7")).toBe("reviews.bookinfo:9080/reviews/{id}");
    expect(operationOf("GET /v1/facade/deadbeef01")).toBe("GET /v1/facade/{id}");
    const a = read(`
root web 0+100
  get/1 api 0+10
  get/2 api 10+10
`);
    const b = read(`
root web 0+100
  get/7 api 0+10
  get/8 api 10+10
  get/9 api 20+10
`);
    const c = compareTraces(a, b);
    expect(c.pairs.map((p) => [p.a.length, p.b.length, p.kind])).toEqual([
      [1, 1, "faster"],
      [2, 3, "slower"],
    ]);
  });
  test("different roots are said to be unlike", () => {
    expect(compareTraces(read("a web 0+1"), read("b api 0+1")).alike).toBe(false);
    expect(compareTraces(normal, normal).alike).toBe(true);
  });
  test("a chain of 5,000 calls", () => {
    const deep = read(
      Array.from({ length: 5000 }, (_, i) => `${"  ".repeat(i)}s web ${i}+${20_000 - 2 * i}`).join("\n"),
    );
    expect(compareTraces(deep, deep).pairs).toHaveLength(5000);
  });
});

describe("for any traces", () => {
  test("a trace does not differ from itself", () => {
    fc.assert(
      fc.property(anyTrace, (t) => {
        expect(compareTraces(t, t).ranked).toEqual([]);
      }),
    );
  });
  test("turned round it is the same, with the opposite signs", () => {
    const opposite = {
      added: "gone",
      gone: "added",
      slower: "faster",
      faster: "slower",
      errors: "mended",
      mended: "errors",
      same: "same",
    };
    fc.assert(
      fc.property(anyTrace, anyTrace, (a, b) => {
        const there = compareTraces(a, b);
        const back = compareTraces(b, a);
        const text = (kind: string, delta: number) => `${kind} ${delta}`;
        expect(there.pairs.map((p) => text(opposite[p.kind], p.selfA - p.selfB + 0)).sort()).toEqual(
          back.pairs.map((p) => text(p.kind, p.selfB - p.selfA + 0)).sort(),
        );
        expect(there.ranked.length).toBe(back.ranked.length);
      }),
    );
  });
  test("parents stand before their children", () => {
    fc.assert(
      fc.property(anyTrace, anyTrace, (a, b) => {
        for (const [i, p] of compareTraces(a, b).pairs.entries()) {
          expect(p.parent).toBeLessThan(i);
          expect(p.depth).toBe(p.parent < 0 ? 0 : compareTraces(a, b).pairs[p.parent]!.depth + 1);
        }
      }),
      { numRuns: 30 },
    );
  });
});

test("the URL of a comparison", () => {
  const id = fc.option(fc.stringMatching(/^[0-9a-f]{31}[1-9a-f]$/), { nil: undefined });
  fc.assert(
    fc.property(
      fc.record({
        a: id,
        b: id,
        all: fc.boolean(),
        rest: fc.constant([["uiEmbed", "v0"]] as [string, string][]),
      }),
      (v) => {
        expect(parseCompare(formatCompare(v))).toEqual(v);
      },
    ),
  );
  expect(parseCompare("a=%3Cscript%3E&b=0xAB")).toEqual({
    a: undefined,
    b: "00000000000000ab",
    all: false,
    rest: [],
  });
});
