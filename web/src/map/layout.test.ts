// @vitest-environment node
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { MapAnswer, MapEdge, MapNode } from "./api";
import { arrange, curves, memberSize, neighbour, nodeSize, planOf, sizeOf } from "./arrange";
import { buildGraph } from "./graph";
import { placeLabels } from "./labels";
import { frame, free, keep, type Placed, pairKey, stretch, type Task, tray } from "./layout";
import { place } from "./place";
import { fitTo, openAt, readable, reveal, scales, zoomAt } from "./viewport";

const box = (id: string, entry = false) => ({ id, ...nodeSize, ...(entry ? { entry } : {}) });

const overlaps = (placed: Placed, task: Task) => {
  for (const a of task.nodes)
    for (const b of task.nodes) {
      if (a.id >= b.id) continue;
      const [p, q] = [placed.at[a.id]!, placed.at[b.id]!];
      const apart =
        Math.abs(p.x - q.x) >= (a.width + b.width) / 2 - 0.5 ||
        Math.abs(p.y - q.y) >= (a.height + b.height) / 2 - 0.5;
      if (!apart) return `${a.id} on ${b.id}`;
    }
  return "";
};

describe("place", () => {
  test("callers are left of callees, entries at the very left", () => {
    const placed = place({
      nodes: [box("client", true), box("gw"), box("web"), box("db"), box("late", true)],
      edges: [
        ["client", "gw"],
        ["gw", "web"],
        ["web", "db"],
        ["late", "db"],
      ],
    });
    const x = (id: string) => placed.at[id]!.x;
    expect(x("client")).toBeLessThan(x("gw"));
    expect(x("gw")).toBeLessThan(x("web"));
    expect(x("web")).toBeLessThan(x("db"));
    expect(x("late")).toBe(x("client"));
  });
  test("names from spans cannot break it", () => {
    const names = ["__proto__", "constructor", "", "\u0001", "a\u0000b", "n0", "root"];
    const task: Task = {
      nodes: names.map((n) => box(n)),
      edges: names.slice(1).map((n, i) => [names[i]!, n]),
    };
    const placed = place(task);
    for (const n of names.filter((x) => x !== "__proto__")) expect(placed.at[n]).toBeDefined();
  });
  test("whatever the graph is, boxes do not lie on each other and the answer is the same twice", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 25 }),
        fc.array(fc.tuple(fc.nat(24), fc.nat(24)), { maxLength: 50 }),
        (n, pairs) => {
          const nodes = Array.from({ length: n }, (_, i) => box(`s${i}`, i === 0));
          const edges = pairs
            .filter(([a, b]) => a < n && b < n)
            .map(([a, b]): [string, string] => [`s${a}`, `s${b}`]);
          const placed = place({ nodes, edges });
          expect(overlaps(placed, { nodes, edges })).toBe("");
          expect(place({ nodes, edges })).toEqual(placed);
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe("keep", () => {
  const task: Task = {
    nodes: ["a", "b", "c", "d", "e"].map((id) => box(id)),
    edges: [
      ["a", "b"],
      ["b", "c"],
      ["b", "d"],
      ["d", "e"],
    ],
  };
  const placed = place(task);
  test("a refresh moves nothing", () => {
    const next = keep({ ...task, edges: [...task.edges, ["a", "e"]] }, placed)!;
    expect(next.at).toEqual(placed.at);
  });
  test("a new node goes beside its caller and on nobody", () => {
    const more: Task = { nodes: [...task.nodes, box("new")], edges: [...task.edges, ["b", "new"]] };
    const next = keep(more, placed)!;
    for (const n of task.nodes) expect(next.at[n.id]).toEqual(placed.at[n.id]);
    expect(next.at["new"]!.x).toBeGreaterThan(next.at["b"]!.x);
    expect(overlaps(next, more)).toBe("");
  });
  test("another map is laid out anew", () => {
    expect(keep({ nodes: ["x", "y"].map((id) => box(id)), edges: [] }, placed)).toBeUndefined();
    const many = Array.from({ length: 9 }, (_, i) => box(`n${i}`));
    expect(keep({ nodes: [...task.nodes, ...many], edges: [] }, placed)).toBeUndefined();
  });
});

test("a place that is free is taken as it is, one that is not goes up or down", () => {
  const taken = [{ x: 0, y: 0, ...nodeSize }];
  expect(free(nodeSize, { x: 500, y: 0 }, taken)).toEqual({ x: 500, y: 0 });
  const p = free(nodeSize, { x: 10, y: 0 }, taken);
  expect(p.x).toBe(10);
  expect(Math.abs(p.y)).toBeGreaterThan(nodeSize.height);
});

describe("an opened group", () => {
  const opened = {
    id: "g",
    box: { x: 100, y: 0, width: 100, height: 50 },
    inner: { at: {}, via: {} },
    width: 300,
    height: 150,
  };
  test("makes room to its right and above and below, and nothing left of it moves", () => {
    const move = stretch([opened]);
    expect(move({ x: 40, y: 0 })).toEqual({ x: 40, y: 0 });
    expect(move({ x: 200, y: 0 })).toEqual({ x: 400, y: 0 });
    expect(move({ x: 200, y: 80 })).toEqual({ x: 400, y: 130 });
    expect(move({ x: 40, y: -80 })).toEqual({ x: 40, y: -130 });
    expect(move({ x: 100, y: 0 })).toEqual({ x: 200, y: 0 });
  });
  test("keeps the order of all other boxes", () => {
    const coordinate = fc.integer({ min: -1000, max: 1000 });
    const point = fc.record({ x: coordinate, y: coordinate });
    fc.assert(
      fc.property(fc.array(point, { maxLength: 3 }), point, point, (centres, p, q) => {
        const move = stretch(centres.map((c) => ({ ...opened, box: { ...opened.box, ...c } })));
        const [a, b] = [move(p), move(q)];
        if (p.x <= q.x) expect(a.x).toBeLessThanOrEqual(b.x);
        if (p.y <= q.y) expect(a.y).toBeLessThanOrEqual(b.y);
      }),
    );
  });
  test("is framed around its inside", () => {
    const boxes = [box("a"), box("b")];
    const f = frame({ at: { a: { x: 500, y: 500 }, b: { x: 900, y: 600 } }, via: {} }, boxes);
    for (const b of boxes) {
      const p = f.inner.at[b.id]!;
      expect(p.x - b.width / 2).toBeGreaterThanOrEqual(0);
      expect(p.x + b.width / 2).toBeLessThanOrEqual(f.width);
      expect(p.y - b.height / 2).toBeGreaterThanOrEqual(0);
      expect(p.y + b.height / 2).toBeLessThanOrEqual(f.height);
    }
    expect(frame({ at: {}, via: {} }, boxes).width).toBe(0);
  });
});

test("the tray fills rows", () => {
  const boxes = Array.from({ length: 5 }, (_, i) => box(`t${i}`));
  const at = tray(boxes, 0, 100, 2 * nodeSize.width + 30);
  expect(new Set(Object.values(at).map((p) => p.y)).size).toBe(3);
  expect(at["t0"]!.x).toBe(nodeSize.width / 2);
});

const figures = {
  calls: 1,
  errors: 0,
  n: 1,
  rate: 1,
  errorRate: 0,
  p50: 1,
  p95: 1,
  p99: 1,
  estimated: false,
};
const mesh = (spaces: number, each: number): MapAnswer => {
  const nodes: MapNode[] = [];
  const edges: MapEdge[] = [];
  for (let s = 0; s < spaces; s++)
    for (let i = 0; i < each; i++) {
      const id = `service/ns${s}/s${i}`;
      nodes.push({
        id,
        kind: "service",
        namespace: `ns${s}`,
        service: `s${i}`,
        services: [],
        versions: [],
        badges: [],
        ...figures,
      });
      const call = (to: string) =>
        edges.push({
          from: id,
          to,
          class: "call",
          protocol: "http",
          protocols: ["http"],
          seen: "both",
          flags: [],
          ...figures,
        });
      if (i > 0) call(`service/ns${s}/s${i - 1}`);
      if (s > 0 && i === 0) call(`service/ns${s - 1}/s${each - 1}`);
    }
  return { nodes, edges, missing: [], notes: [], complete: true };
};

const plain = {
  focus: "",
  hops: 1,
  find: [],
  hide: [],
  fold: "auto" as const,
  open: [] as string[],
  closed: [] as string[],
};

/** The whole way from an answer to places, with the worker's part done here. */
function picture(answer: MapAnswer, view: Partial<typeof plain>, fold: "auto" | "all" | "none" = "auto") {
  const graph = buildGraph(answer, undefined, { ...plain, ...view, fold });
  const plan = planOf(graph);
  const inner = new Map([...plan.inner].map(([id, task]) => [id, place(task)]));
  return { graph, plan, arranged: arrange(graph, place(plan.base), inner) };
}

describe("arrange", () => {
  test("every drawn node has a place, and none lies on another", () => {
    for (const view of [{}, { open: ["ns/ns1"] }, { open: ["ns/ns0", "ns/ns2"] }] as Partial<
      typeof plain
    >[]) {
      const { graph, arranged } = picture(mesh(4, 20), view);
      const rects = graph.nodes.map((n) => {
        const p = arranged.at.get(n.id)!;
        expect(p).toBeDefined();
        const s = sizeOf(n);
        return { l: p.x - s.width / 2, r: p.x + s.width / 2, t: p.y - s.height / 2, b: p.y + s.height / 2 };
      });
      for (const [i, a] of rects.entries())
        for (const b of rects.slice(i + 1))
          expect(a.r <= b.l + 0.5 || b.r <= a.l + 0.5 || a.b <= b.t + 0.5 || b.b <= a.t + 0.5).toBe(true);
    }
  });
  test("opening a namespace keeps what is left of it where it is", () => {
    const folded = picture(mesh(4, 20), {});
    const opened = picture(mesh(4, 20), { open: ["ns/ns1"] });
    const at = (p: ReturnType<typeof picture>, id: string) => p.arranged.at.get(id)!;
    const middle = at(folded, "ns/ns1");
    for (const id of ["ns/ns0", "ns/ns2", "ns/ns3"]) {
      const [before, after] = [at(folded, id), at(opened, id)];
      if (before.x < middle.x) expect(after.x).toBe(before.x);
      else expect(after.x).toBeGreaterThan(before.x);
    }
    expect(opened.arranged.frames.has("ns/ns1")).toBe(true);
  });
  test("a namespace that is folded by hand on a small map moves nobody else", () => {
    const answer = mesh(3, 5);
    const base = place(planOf(buildGraph(answer, undefined, plain)).base);
    const before = arrange(buildGraph(answer, undefined, plain), base, new Map());
    const graph = buildGraph(answer, undefined, { ...plain, closed: ["ns/ns1"] });
    const after = arrange(graph, base, new Map());
    for (const n of graph.nodes)
      if (n.kind !== "group") expect(after.at.get(n.id)).toEqual(before.at.get(n.id));
    expect(after.at.get("ns/ns1")).toBeDefined();
    expect(planOf(graph).base.nodes.map((n) => n.id)).toEqual(
      planOf(buildGraph(answer, undefined, plain)).base.nodes.map((n) => n.id),
    );
  });
  test("edges begin and end at their nodes; calls backwards come from below", () => {
    const answer = mesh(1, 3);
    answer.edges.push({ ...answer.edges[0]!, from: "service/ns0/s0", to: "service/ns0/s2" });
    answer.edges.push({ ...answer.edges[0]!, from: "service/ns0/s1", to: "service/ns0/s1" });
    const { graph, arranged } = picture(answer, {});
    const ways = curves(graph, arranged);
    expect(ways.size).toBe(graph.edges.length);
    const back = [...ways.values()].filter((c) => c.back);
    expect(back).toHaveLength(2);
    for (const e of graph.edges) {
      const way = ways.get(e.id)!;
      expect(way.path).not.toMatch(/NaN|undefined/);
      const to = arranged.at.get(e.to)!;
      expect(Math.abs(way.tip.x - to.x)).toBeLessThanOrEqual(nodeSize.width / 2 + 0.5);
      expect(Math.abs(way.tip.y - to.y)).toBeLessThanOrEqual(nodeSize.height / 2 + 0.5);
    }
  });
  test("labels cover neither nodes nor each other", () => {
    const { graph, arranged } = picture(mesh(2, 12), {}, "none");
    const boxes = graph.nodes.map((n) => {
      const p = arranged.at.get(n.id)!;
      return { x: p.x - nodeSize.width / 2, y: p.y - nodeSize.height / 2, ...nodeSize };
    });
    const labels = [
      ...placeLabels(graph.edges, curves(graph, arranged), boxes, () => 90, new Set()).values(),
    ];
    expect(labels.length).toBeGreaterThan(5);
    const rects = labels.map((l) => ({ x: l.x - l.width / 2, y: l.y - 9, width: l.width, height: 18 }));
    const hit = (a: (typeof rects)[number], b: (typeof rects)[number]) =>
      a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
    for (const [i, a] of rects.entries()) {
      for (const b of rects.slice(i + 1)) expect(hit(a, b)).toBe(false);
      for (const b of boxes) expect(hit(a, b)).toBe(false);
    }
  });
  test("arrow keys reach every node that is connected", () => {
    const { graph, arranged } = picture(mesh(2, 10), {}, "none");
    const seen = new Set([graph.nodes[0]!.id]);
    const next = [...seen];
    while (next.length > 0) {
      const id = next.pop()!;
      for (const key of ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"] as const) {
        const to = neighbour(arranged, id, key);
        if (to !== undefined && !seen.has(to)) {
          seen.add(to);
          next.push(to);
        }
      }
    }
    expect(seen.size).toBe(graph.nodes.length);
  });
});

describe("viewport", () => {
  test("fit shows all in the middle", () => {
    const v = fitTo({ x: 100, y: 50, width: 2000, height: 400 }, 1000, 600);
    expect(v.scale).toBeLessThan(0.5);
    expect((100 + 1000) * v.scale + v.x).toBeCloseTo(500);
    expect((50 + 200) * v.scale + v.y).toBeCloseTo(300);
    expect(fitTo({ x: 0, y: 0, width: 10, height: 10 }, 1000, 600).scale).toBe(1.25);
    expect(fitTo({ x: 0, y: 0, width: 0, height: 0 }, 0, 0).scale).toBe(1);
  });
  test("a map opens where it can be read: whole, or from its left", () => {
    const small = { x: 100, y: 50, width: 1000, height: 400 };
    expect(openAt(small, 1000, 600)).toEqual(fitTo(small, 1000, 600));
    const wide = openAt({ x: 100, y: 50, width: 9000, height: 400 }, 1000, 600);
    expect(wide.scale).toBe(readable);
    expect(100 * wide.scale + wide.x).toBeCloseTo(36);
    expect(250 * wide.scale + wide.y).toBeCloseTo(300);
    const high = openAt({ x: 0, y: 0, width: 400, height: 9000 }, 1000, 600);
    expect(200 * high.scale + high.x).toBeCloseTo(500);
  });
  test("zoom keeps the point under the pointer and stays within bounds", () => {
    const v = zoomAt({ x: 10, y: 20, scale: 1 }, 2, 110, 220);
    expect([(110 - v.x) / v.scale, (220 - v.y) / v.scale]).toEqual([100, 200]);
    expect(zoomAt(v, 1e9, 0, 0).scale).toBe(scales.most);
    expect(zoomAt(v, 1e-9, 0, 0).scale).toBe(scales.least);
  });
  test("reveal moves no more than it must", () => {
    const v = { x: 0, y: 0, scale: 1 };
    expect(reveal(v, { x: 100, y: 100, width: 50, height: 50 }, 800, 600)).toBe(v);
    expect(reveal(v, { x: 900, y: 100, width: 50, height: 50 }, 800, 600)).toEqual({
      x: -174,
      y: 0,
      scale: 1,
    });
    expect(reveal(v, { x: -100, y: 100, width: 50, height: 50 }, 800, 600).x).toBe(124);
  });
});

test("pairs of names do not run into each other", () => {
  expect(pairKey("a b", "c")).not.toBe(pairKey("a", "b c"));
});

test("services without any call are all in the tray", () => {
  const lone = { ...mesh(1, 3), edges: [] };
  const { graph, plan, arranged } = picture(lone, {});
  expect(plan.base.nodes).toEqual([]);
  expect(graph.nodes.every((n) => arranged.at.has(n.id))).toBe(true);
  expect(arranged.bounds.width).toBeGreaterThan(0);
  expect(arranged.tray).toBe(0);
});

test("a node is as wide as its name needs, within bounds", () => {
  const width = (service: string) => memberSize({ kind: "service", service }).width;
  expect(width("a")).toBe(nodeSize.width);
  expect(width("recommendations")).toBeGreaterThan(nodeSize.width);
  expect(width("추천서비스서비스서비스")).toBeGreaterThan(width("recommendat"));
  expect(width("x".repeat(1e6))).toBe(width("x".repeat(100)));
});
