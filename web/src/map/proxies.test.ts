import { expect, test } from "vitest";
import type { MapAnswer, MapEdge, MapNode, NodeKind } from "./api";
import { splitProxies, workloadId } from "./proxies";

const figures = { errors: 0, n: 1, rate: 1, errorRate: 0, p50: 1, p95: 1, p99: 1, estimated: false };

function node(id: string, services: string[]): MapNode {
  const [kind, namespace, service] = id.split("/") as [NodeKind, string, string];
  return { ...figures, calls: 1, id, kind, namespace, service, services, slot: 1, versions: [], badges: [] };
}

function edge(from: string, to: string, calls: number, p95 = 1, more: Partial<MapEdge> = {}): MapEdge {
  const red = { ...figures, p95, weight: calls };
  return {
    ...figures,
    calls,
    p95,
    from,
    to,
    class: "call",
    protocol: "http",
    protocols: ["http"],
    seen: "both",
    flags: [],
    client: red,
    server: { ...red, p95: p95 / 2 },
    ...more,
  } as MapEdge;
}

const answer = {
  nodes: [
    node("gateway/is/gw", ["gw.is"]),
    node("service/shop/web", ["web", "web.shop"]),
    node("service/shop/api", ["api", "api.shop"]),
    node("service/shop/mute", ["mute.shop"]),
    node("service/shop/plain", ["plain"]),
    node("database//db", []),
  ],
  edges: [
    edge("gateway/is/gw", "service/shop/web", 7, 9),
    edge("service/shop/web", "service/shop/api", 5, 8),
    edge("service/shop/web", "service/shop/mute", 2, 4),
    edge("service/shop/api", "database//db", 5),
    edge("service/shop/mute", "service/shop/plain", 2),
    edge("service/shop/web", "service/shop/api", 1, 1, { class: "async" }),
  ],
  missing: [],
  notes: [],
  complete: true,
  read: { blocks: 0, of: 0, bytes: 0 },
} as unknown as MapAnswer;

test("a call goes by both sidecars; what a sidecar does not see stays the application's", () => {
  const split = splitProxies(answer);
  expect(split.nodes.map((n) => `${n.id} ${n.services.join()}`)).toEqual([
    "gateway/is/gw gw.is",
    "service/shop/web web",
    "proxy/shop/web web.shop",
    "service/shop/api api",
    "proxy/shop/api api.shop",
    "proxy/shop/mute mute.shop",
    "service/shop/plain plain",
    "database//db ",
  ]);
  expect(split.edges.map((e) => `${e.from} > ${e.to} ${e.class} ${e.calls} ${e.p95}`)).toEqual([
    "gateway/is/gw > proxy/shop/web call 7 9",
    "proxy/shop/web > proxy/shop/api call 5 8",
    "proxy/shop/web > proxy/shop/mute call 2 4",
    "service/shop/api > database//db call 5 1",
    "proxy/shop/mute > service/shop/plain call 2 1",
    "service/shop/web > service/shop/api async 1 1",
    "service/shop/web > proxy/shop/web call 7 8",
    "proxy/shop/web > service/shop/web call 7 4.5",
    "proxy/shop/api > service/shop/api call 5 4",
  ]);
});

test("every edge has both of its ends, and every id leads back to its workload", () => {
  const split = splitProxies(answer);
  const ids = new Set(split.nodes.map((n) => n.id));
  for (const e of split.edges) expect([ids.has(e.from), ids.has(e.to)]).toEqual([true, true]);
  const known = new Set(answer.nodes.map((n) => n.id));
  for (const n of split.nodes) expect(known.has(workloadId(n.id))).toBe(true);
});
