import { Graph as Dagre, layout as dagreLayout } from "@dagrejs/dagre";
import { gap, type Placed, type Point, pairKey, type Task } from "./layout";

/**
 * place lays a graph out in layers from left to right. Cost: some tens of ms for 60 nodes and half a second for 200, so it runs
 * in a worker. The simplex gives shorter edges and takes seconds from 200 nodes on; the tight tree takes over before that.
 */
export function place(task: Task): Placed {
  const g = new Dagre({ multigraph: false, compound: false });
  g.setGraph({
    rankdir: "LR",
    ranksep: gap.rank,
    nodesep: gap.node,
    ranker: task.nodes.length > 100 || task.edges.length > 100 ? "tight-tree" : "network-simplex",
  });
  g.setDefaultEdgeLabel(() => ({}));
  // Names of nodes come from spans: numbers keep them away from a library that uses some names itself.
  const names = new Map(task.nodes.map((n, i) => [n.id, `n${i}`]));
  for (const n of task.nodes) g.setNode(names.get(n.id)!, { width: n.width, height: n.height });
  const wanted = new Set<string>();
  for (const [from, to] of task.edges) {
    const [a, b] = [names.get(from), names.get(to)];
    if (a === undefined || b === undefined || a === b) continue;
    wanted.add(pairKey(from, to));
    g.setEdge(a, b, {});
  }
  // A root before everything that requests enter by keeps those in the first layer.
  const entries = task.nodes.filter((n) => n.entry);
  if (entries.length > 0) {
    g.setNode("root", { width: 0, height: 0 });
    for (const n of entries) g.setEdge("root", names.get(n.id)!, { weight: 4 });
  }
  dagreLayout(g);
  const at: Record<string, Point> = {};
  const via: Record<string, Point[]> = {};
  for (const n of task.nodes) {
    const p = g.node(names.get(n.id)!) as Point;
    at[n.id] = { x: round(p.x), y: round(p.y) };
  }
  for (const [from, to] of task.edges) {
    const key = pairKey(from, to);
    if (!wanted.has(key)) continue;
    const points = (g.edge(names.get(from)!, names.get(to)!) as { points?: Point[] }).points ?? [];
    via[key] = points.slice(1, -1).map((p) => ({ x: round(p.x), y: round(p.y) }));
  }
  return { at, via };
}

function round(n: number): number {
  return Math.round(n * 10) / 10;
}
