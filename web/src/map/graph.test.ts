// @vitest-environment node
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Condition } from "../model/conditions";
import { parseMap } from "../model/mapUrl";
import type { MapAnswer, MapEdge, MapNode, NodeKind } from "./api";
import { buildGraph, changeOf, edgeId, type Graph, labelled, reach, sumOf, widthOf } from "./graph";
import { toggled } from "./toggle";

const figures = (rate: number, errorRate = 0, p95 = 10e6) => ({
  calls: rate * 100,
  errors: rate * 100 * errorRate,
  n: Math.round(rate * 100),
  rate,
  errorRate,
  p50: p95 / 2,
  p95,
  p99: p95 * 2,
  estimated: false,
});

function node(id: string, more: Partial<MapNode> = {}): MapNode {
  const [kind, namespace, service] = id.split("/") as [NodeKind, string, string];
  return {
    id,
    kind,
    namespace,
    service,
    services: [service],
    versions: [],
    badges: [],
    slot: 1,
    ...figures(1),
    ...more,
  };
}

function edge(from: string, to: string, more: Partial<MapEdge> = {}): MapEdge {
  return {
    from,
    to,
    class: "call",
    protocol: "http",
    protocols: ["http"],
    seen: "both",
    flags: [],
    ...figures(1),
    ...more,
  };
}

const answer = (nodes: MapNode[], edges: MapEdge[]): MapAnswer => ({
  nodes,
  edges,
  missing: [],
  notes: [],
  complete: true,
});

const plain = { focus: "", hops: 1, find: [], hide: [], fold: "auto" as const, open: [], closed: [] };
const ids = (g: Graph) => g.nodes.map((n) => n.id);
const arrows = (g: Graph) => g.edges.map((e) => `${e.from} > ${e.to}`);

const shop = answer(
  [
    "client//",
    "gateway/is/gw",
    "service/shop/web",
    "service/shop/api",
    "service/pay/card",
    "database//pg",
  ].map((id) => node(id)),
  [
    edge("client//", "gateway/is/gw"),
    edge("gateway/is/gw", "service/shop/web"),
    edge("service/shop/web", "service/shop/api", figures(2, 0.1, 50e6)),
    edge("service/shop/web", "service/pay/card", figures(3, 0, 90e6)),
    edge("service/shop/api", "service/pay/card", figures(1, 0.5, 20e6)),
    edge("service/pay/card", "database//pg"),
  ],
);

describe("folding", () => {
  test("a small map is not folded", () => {
    const g = buildGraph(shop, undefined, plain);
    expect(g.folding).toBe(false);
    expect(ids(g)).toHaveLength(6);
    expect(arrows(g)).toHaveLength(6);
  });
  test("a folded namespace is one node with summed edges, without those inside of it", () => {
    const g = buildGraph(shop, undefined, { ...plain, closed: ["ns/shop"] });
    expect(ids(g)).toEqual(["client//", "gateway/is/gw", "ns/shop", "service/pay/card", "database//pg"]);
    expect(arrows(g)).toEqual([
      "client// > gateway/is/gw",
      "gateway/is/gw > ns/shop",
      "ns/shop > service/pay/card",
      "service/pay/card > database//pg",
    ]);
    const sum = g.edges[2]!;
    expect(sum.members).toHaveLength(2);
    expect(sum.figures.rate).toBe(4);
    expect(sum.figures.errorRate).toBeCloseTo(0.125);
    expect(sum.figures.p95).toBe(90e6);
  });
  test("above sixty nodes namespaces fold by themselves, and one that is opened is not", () => {
    const many = answer(
      Array.from({ length: 61 }, (_, i) => node(`service/ns${i % 4}/s${i}`)),
      [edge("service/ns0/s0", "service/ns1/s1")],
    );
    const g = buildGraph(many, undefined, { ...plain, open: ["ns/ns1"] });
    expect(g.folding).toBe(true);
    expect(g.groups.map((x) => [x.id, x.folded])).toEqual([
      ["ns/ns0", true],
      ["ns/ns1", false],
      ["ns/ns2", true],
      ["ns/ns3", true],
    ]);
    expect(arrows(g)).toEqual(["ns/ns0 > service/ns1/s1"]);
    expect(buildGraph(many, undefined, { ...plain, fold: "none" }).nodes).toHaveLength(61);
  });
  test("hosts without a namespace fold by their kind, clients never", () => {
    const a = answer([node("client//"), node("external//a"), node("external//b"), node("database//c")], []);
    const g = buildGraph(a, undefined, { ...plain, fold: "all" });
    expect(ids(g)).toEqual(["client//", "kind/external", "database//c"]);
  });
});

describe("what is shown", () => {
  test("a node without any call is in the tray, not hidden", () => {
    const g = buildGraph(answer([...shop.nodes, node("service/shop/cron")], shop.edges), undefined, plain);
    expect(g.nodes.filter((n) => n.alone).map((n) => n.id)).toEqual(["service/shop/cron"]);
  });
  test("focus reaches up and down, and not sideways", () => {
    expect([...reach(shop.edges, "service/shop/api", 1)].sort()).toEqual([
      "service/pay/card",
      "service/shop/api",
      "service/shop/web",
    ]);
    expect(reach(shop.edges, "service/shop/api", 2).has("database//pg")).toBe(true);
    expect(reach(shop.edges, "service/shop/api", 2).has("client//")).toBe(false);
    const g = buildGraph(shop, undefined, { ...plain, focus: "service/pay/card", hops: 1 });
    expect(ids(g)).toEqual(["service/shop/web", "service/shop/api", "service/pay/card", "database//pg"]);
    expect(g.hidden).toBe(2);
  });
  test("calls by their encryption: hidden, looked for, and what a folded edge has in common", () => {
    const edges = shop.edges.map((e, i) => ({ ...e, mtls: i === 0 ? ("off" as const) : ("on" as const) }));
    const answer = { ...shop, edges };
    const plainText: Condition[] = [{ field: "mtls", op: "=", value: "off" }];
    const found = buildGraph(answer, undefined, { ...plain, find: plainText });
    expect(found.edges.filter((e) => !e.dim).map((e) => e.mtls)).toEqual(["off"]);
    const hidden = buildGraph(answer, undefined, { ...plain, hide: plainText });
    expect(hidden.edges.length).toBe(found.edges.length - 1);
    expect(hidden.edges.every((e) => e.mtls === "on")).toBe(true);
  });
  test("a kind that is hidden takes its edges with it", () => {
    const g = buildGraph(shop, undefined, {
      ...plain,
      hide: [{ field: "kind", op: "=", value: "database" }],
    });
    expect(ids(g)).not.toContain("database//pg");
    expect(arrows(g)).not.toContain("service/pay/card > database//pg");
    expect(g.hidden).toBe(1);
  });
  test("hiding by figures leaves the edges that are looked at, and what they join", () => {
    const g = buildGraph(shop, undefined, { ...plain, hide: [{ field: "errors", op: "<", value: 0.05 }] });
    expect(arrows(g)).toEqual(["service/shop/web > service/shop/api", "service/shop/api > service/pay/card"]);
    expect(ids(g)).toEqual(["service/shop/web", "service/shop/api", "service/pay/card"]);
  });
  test("what is looked for is bright with both of its ends", () => {
    const find: Condition[] = [{ field: "errors", op: ">", value: 0.2 }];
    const g = buildGraph(shop, undefined, { ...plain, find });
    expect(g.edges.filter((e) => !e.dim).map((e) => e.to)).toEqual(["service/pay/card"]);
    expect(g.nodes.filter((n) => !n.dim).map((n) => n.id)).toEqual(["service/shop/api", "service/pay/card"]);
  });
  test("a name finds part of it, in any case", () => {
    const g = buildGraph(shop, undefined, { ...plain, find: [{ field: "name", op: "~", value: "CAR" }] });
    expect(g.nodes.filter((n) => !n.dim).map((n) => n.id)).toEqual(["service/pay/card"]);
  });
  test("the worst ten have their figures beside them: errors first, then slow ones", () => {
    const many = answer(
      [node("service/a/x"), ...Array.from({ length: 20 }, (_, i) => node(`service/a/s${i}`))],
      Array.from({ length: 20 }, (_, i) =>
        edge("service/a/x", `service/a/s${i}`, figures(1, i === 3 ? 0.9 : 0, (i + 1) * 1e6)),
      ),
    );
    const shown = buildGraph(many, undefined, plain).edges.filter((e) => e.label);
    expect(shown).toHaveLength(labelled);
    expect(shown.map((e) => e.to)).toContain("service/a/s3");
    expect(shown.map((e) => e.to)).toContain("service/a/s19");
    expect(shown.map((e) => e.to)).not.toContain("service/a/s0");
  });
});

describe("comparison", () => {
  test("what is gone stays on the map, with nothing in it", () => {
    const now = answer([node("service/a/x"), node("service/a/y")], [edge("service/a/x", "service/a/y")]);
    const then = answer([node("service/a/x"), node("service/a/z")], [edge("service/a/x", "service/a/z")]);
    const g = buildGraph(now, then, plain);
    expect(g.nodes.map((n) => [n.id, n.change])).toEqual([
      ["service/a/x", "same"],
      ["service/a/y", "new"],
      ["service/a/z", "gone"],
    ]);
    expect(g.edges.map((e) => [e.to, e.change, e.figures.n])).toEqual([
      ["service/a/y", "new", 100],
      ["service/a/z", "gone", 0],
    ]);
  });
  test.each([
    [figures(1, 0.05), figures(1, 0), "worse"],
    [figures(1, 0), figures(1, 0.05), "better"],
    [figures(1, 0.01), figures(1, 0), "same"],
    [figures(1, 0, 40e6), figures(1, 0, 20e6), "worse"],
    [figures(1, 0, 20e6), figures(1, 0, 40e6), "better"],
    [figures(1, 0, 1.9e6), figures(1, 0, 0.5e6), "same"],
    [figures(0.1, 0, 90e6), figures(1, 0, 20e6), "same"],
    [figures(0), figures(1), "gone"],
    [figures(1), figures(0), "new"],
    [figures(0), figures(0), "same"],
  ])("%#", (now, before, want) => expect(changeOf(now, before)).toBe(want));
});

test("nothing is lost or made up by folding, focusing and hiding", () => {
  const names = fc.constantFrom("a", "b", "c", "d", "<i>", "__proto__", "\u202e", "");
  const kinds = fc.constantFrom<NodeKind>("service", "database", "external", "client");
  const nodes = fc.uniqueArray(
    fc.tuple(kinds, names, names).map(([k, ns, n]) => node(`${k}/${k === "service" ? ns : ""}/${n}`)),
    { selector: (n) => n.id, minLength: 1, maxLength: 20 },
  );
  const graph = nodes.chain((list) =>
    fc
      .uniqueArray(
        fc
          .tuple(fc.nat(list.length - 1), fc.nat(list.length - 1))
          .map(([a, b]) => edge(list[a]!.id, list[b]!.id)),
        { selector: edgeId, maxLength: 30 },
      )
      .map((edges) => answer(list, edges)),
  );
  fc.assert(
    fc.property(
      graph,
      fc.constantFrom("all" as const, "none" as const, "auto" as const),
      fc.subarray(["ns/a", "ns/b", "ns/__proto__", "kind/external"]),
      (a, fold, chosen) => {
        const g = buildGraph(a, undefined, { ...plain, fold, open: chosen });
        const members = g.nodes.flatMap((n) => n.members.map((m) => m.id)).sort();
        expect(members).toEqual(a.nodes.map((n) => n.id).sort());
        const drawn = new Set(g.nodes.map((n) => n.id));
        const inside = a.edges.length - g.edges.reduce((s, e) => s + e.members.length, 0);
        expect(inside).toBeGreaterThanOrEqual(0);
        if (fold !== "all") expect(inside).toBe(0);
        for (const e of g.edges) {
          expect(drawn.has(e.from) && drawn.has(e.to)).toBe(true);
          expect(e.figures.n).toBe(e.members.reduce((s, m) => s + m.n, 0));
        }
      },
    ),
  );
});

test("sums and widths", () => {
  expect(sumOf([]).n).toBe(0);
  expect(sumOf([figures(1, 1), figures(3, 0)]).errorRate).toBe(0.25);
  expect(widthOf(0)).toBe(1.25);
  expect(widthOf(1e9)).toBe(7);
  expect(widthOf(100)).toBeGreaterThan(widthOf(1));
});

test("a group that is opened or folded becomes an exception, and the end of one", () => {
  const view = { ...parseMap(""), selection: { kind: "group" as const, id: "ns/shop" } };
  const large = buildGraph(shop, undefined, { ...plain, fold: "all" });
  const opened = toggled(view, "ns/shop", large);
  expect([opened.open, opened.closed, opened.selection]).toEqual([["ns/shop"], [], undefined]);
  const again = toggled(
    opened,
    "ns/shop",
    buildGraph(shop, undefined, { ...plain, fold: "all", open: opened.open }),
  );
  expect([again.open, again.closed]).toEqual([[], []]);
  const folded = toggled(view, "ns/shop", buildGraph(shop, undefined, plain));
  expect([folded.open, folded.closed]).toEqual([[], ["ns/shop"]]);
});
