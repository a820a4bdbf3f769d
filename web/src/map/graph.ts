import type { Red } from "../api/types";
import type { Condition, MtlsWord } from "../model/conditions";
import type { MapView } from "../model/mapUrl";
import type { EdgeClass, Figures, MapAnswer, MapEdge, MapNode, NodeKind } from "./api";

/** From this share of failed calls on, an edge or a node is red. */
export const errorThreshold = 0.05;
/** With more nodes than this, namespaces fold by themselves. */
export const foldAbove = 60;
/** How many edges have their figures written beside them. */
export const labelled = 10;

/** What became of a figure since the earlier window. */
export type Change = "new" | "gone" | "worse" | "better" | "same";

/** A node as it is drawn: one of the answer, or a folded group of them. */
export interface VNode {
  id: string;
  kind: NodeKind | "group";
  label: string;
  /** Namespace, or how many nodes are folded. */
  namespace: string;
  /** The group it belongs to, folded or not; undefined for what has none. */
  group: string | undefined;
  members: MapNode[];
  figures: Figures;
  before: Figures | undefined;
  change: Change | undefined;
  slot: number | undefined;
  /** Without any edge that is shown: drawn in the tray below. */
  alone: boolean;
  /** Not among what is looked for. */
  dim: boolean;
}

/** An edge as it is drawn: the calls of one class between two drawn nodes. */
export interface VEdge {
  id: string;
  from: string;
  to: string;
  class: EdgeClass;
  members: MapEdge[];
  figures: Figures;
  before: Figures | undefined;
  change: Change | undefined;
  protocol: string;
  /** What all of its calls have in common; undefined where they differ, or for what has no sidecar. */
  mtls: MtlsWord | undefined;
  dim: boolean;
  /** Its figures are written beside it: one of the worst. */
  label: boolean;
}

export interface Group {
  id: string;
  label: string;
  members: string[];
  folded: boolean;
}

export interface Graph {
  nodes: VNode[];
  edges: VEdge[];
  /** Groups of two and more nodes, by id. */
  groups: Group[];
  /** Whether namespaces are folded unless they are opened. */
  folding: boolean;
  /** Nodes of the answer that are not drawn: hidden by a chip, or out of the focus's reach. */
  hidden: number;
  /** Edges of the answer that are drawn, alone or in a sum. */
  calls: MapEdge[];
  /** Nodes of the answer that are drawn, alone or in a group. */
  members: MapNode[];
}

export function edgeId(e: { from: string; to: string; class: string }): string {
  return JSON.stringify([e.from, e.to, e.class]);
}

/** groupOf is where a node is folded into: its namespace, or its kind for what has none. */
export function groupOf(n: MapNode): string | undefined {
  if (n.namespace !== "") return `ns/${n.namespace}`;
  if (n.kind === "client" || n.kind === "other") return undefined;
  return `kind/${n.kind}`;
}

/**
 * buildGraph makes of an answer what is drawn: focus, hide chips, folding, comparison, in this order. It keeps the order of the
 * answer, so that the same answer gives the same picture.
 */
export function buildGraph(
  answer: MapAnswer,
  earlier: MapAnswer | undefined,
  view: Pick<MapView, "focus" | "hops" | "find" | "hide" | "fold" | "open" | "closed">,
): Graph {
  const all = withGone(answer, earlier);
  const reached = view.focus ? reach(all.edges, view.focus, view.hops) : undefined;
  const inReach = all.nodes.filter((n) => !reached || reached.has(n.id));
  const { nodes, edges } = hide(
    inReach,
    all.edges.filter((e) => !reached || (reached.has(e.from) && reached.has(e.to))),
    view.hide,
  );

  const sizes = new Map<string, MapNode[]>();
  for (const n of nodes) {
    const g = groupOf(n);
    if (g !== undefined) sizes.set(g, [...(sizes.get(g) ?? []), n]);
  }
  const folding = view.fold === "all" || (view.fold === "auto" && nodes.length > foldAbove);
  const groups: Group[] = [...sizes]
    .filter(([, list]) => list.length > 1)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([id, list]) => ({
      id,
      label: id.slice(id.indexOf("/") + 1),
      members: list.map((n) => n.id),
      folded: view.closed.includes(id) || (folding && !view.open.includes(id)),
    }));
  const folded = new Map(groups.filter((g) => g.folded).map((g) => [g.id, g]));
  const grouped = new Set(groups.map((g) => g.id));

  const drawnAs = new Map<string, string>();
  for (const n of nodes) {
    const g = groupOf(n);
    drawnAs.set(n.id, g !== undefined && folded.has(g) ? g : n.id);
  }
  const was = new Map((earlier?.nodes ?? []).map((n) => [n.id, n]));
  const wasEdge = new Map((earlier?.edges ?? []).map((e) => [edgeId(e), e]));

  const sums = new Map<string, MapEdge[]>();
  for (const e of edges) {
    const [from, to] = [drawnAs.get(e.from)!, drawnAs.get(e.to)!];
    if (from === to && from !== e.from) continue; // inside of a folded group
    const id = edgeId({ from, to, class: e.class });
    sums.set(id, [...(sums.get(id) ?? []), e]);
  }
  const vedges = [...sums].map(([id, members]): VEdge => {
    const first = members[0]!;
    const figures = sumOf(members);
    const before = earlier ? sumOf(members.flatMap((m) => wasEdge.get(edgeId(m)) ?? [])) : undefined;
    return {
      id,
      from: drawnAs.get(first.from)!,
      to: drawnAs.get(first.to)!,
      class: first.class,
      members,
      figures,
      before,
      change: before ? changeOf(figures, before) : undefined,
      protocol: mostFrequent(members),
      mtls: members.every((m) => m.mtls === first.mtls) ? first.mtls : undefined,
      dim: view.find.length > 0 && !members.some((m) => fits(m, all.byId, view.find)),
      label: false,
    };
  });
  for (const e of worst(vedges)) e.label = true;

  const touched = new Set(vedges.filter((e) => e.from !== e.to).flatMap((e) => [e.from, e.to]));
  const vnodes: VNode[] = [];
  const done = new Set<string>();
  for (const n of nodes) {
    const id = drawnAs.get(n.id)!;
    if (done.has(id)) continue;
    done.add(id);
    const g = groupOf(n);
    const members = id === n.id ? [n] : sizes.get(g!)!;
    const figures = sumOf(members);
    const before = earlier ? sumOf(members.flatMap((m) => was.get(m.id) ?? [])) : undefined;
    vnodes.push({
      id,
      kind: id === n.id ? n.kind : "group",
      label: id === n.id ? n.service : folded.get(id)!.label,
      namespace: n.namespace,
      group: g !== undefined && grouped.has(g) ? g : undefined,
      members,
      figures,
      before,
      change: before && n.kind !== "client" ? changeOf(figures, before) : undefined,
      slot: id === n.id ? n.slot : undefined,
      alone: !touched.has(id),
      dim: view.find.length > 0 && !members.some((m) => nodeFits(m, view.find)),
    });
  }
  // What an edge that is looked for joins, stays bright too.
  if (view.find.length > 0) {
    const lit = new Set(vedges.filter((e) => !e.dim).flatMap((e) => [e.from, e.to]));
    for (const n of vnodes) if (lit.has(n.id)) n.dim = false;
  }
  return {
    nodes: vnodes,
    edges: vedges,
    groups,
    folding,
    hidden: all.nodes.length - nodes.length,
    calls: edges,
    members: nodes,
  };
}

const nothing: Figures = {
  calls: 0,
  errors: 0,
  n: 0,
  rate: 0,
  errorRate: 0,
  p50: 0,
  p95: 0,
  p99: 0,
  estimated: false,
};

/** What is in the earlier window only stays on the map, with nothing in its figures. */
function withGone(answer: MapAnswer, earlier: MapAnswer | undefined) {
  const nodes = [...answer.nodes];
  const edges = [...answer.edges];
  if (earlier) {
    const now = new Set(nodes.map((n) => n.id));
    const calls = new Set(edges.map(edgeId));
    for (const n of earlier.nodes) {
      if (!now.has(n.id)) nodes.push({ ...n, ...nothing, versions: [], badges: ["silent"] });
    }
    for (const e of earlier.edges) {
      if (calls.has(edgeId(e))) continue;
      const { client: _c, server: _s, slowest: _l, failed: _f, ...rest } = e;
      edges.push({ ...rest, ...nothing, flags: [] });
    }
  }
  const byId = new Map(nodes.map((n) => [n.id, n]));
  // Answers cut short may lack an end of an edge.
  return { nodes, edges: edges.filter((e) => byId.has(e.from) && byId.has(e.to)), byId };
}

/** reach is what lies at most n hops up or down from a node; each way is followed on its own. */
export function reach(edges: readonly MapEdge[], focus: string, hops: number): Set<string> {
  const out = new Set([focus]);
  for (const [a, b] of [
    ["from", "to"],
    ["to", "from"],
  ] as const) {
    const next = new Map<string, string[]>();
    for (const e of edges) next.set(e[a], [...(next.get(e[a]) ?? []), e[b]]);
    let front = [focus];
    const seen = new Set(front);
    for (let i = 0; i < hops; i++) {
      front = front.flatMap((id) => next.get(id) ?? []).filter((id) => !seen.has(id) && seen.add(id));
      for (const id of front) out.add(id);
    }
  }
  return out;
}

/** Names and kinds hide nodes with their edges; figures hide edges, and the nodes that have no other. */
function hide(nodes: MapNode[], edges: MapEdge[], chips: readonly Condition[]) {
  if (chips.length === 0) return { nodes, edges };
  const identity = chips.filter(isIdentity);
  const figure = chips.filter((c) => !isIdentity(c));
  const left = nodes.filter((n) => !identity.some((c) => nodeFits(n, [c])));
  const ids = new Set(left.map((n) => n.id));
  const before = new Set(edges.flatMap((e) => [e.from, e.to]));
  const calls = edges.filter((e) => ids.has(e.from) && ids.has(e.to) && !figure.some((c) => edgeFits(e, c)));
  if (figure.length === 0) return { nodes: left, edges: calls };
  const after = new Set(calls.flatMap((e) => [e.from, e.to]));
  return { nodes: left.filter((n) => after.has(n.id) || !before.has(n.id)), edges: calls };
}

/** Conditions on what a node is, not on how it is doing. */
function isIdentity(c: Condition): boolean {
  return c.field === "ns" || c.field === "kind" || c.field === "name";
}

function edgeFits(e: MapEdge, c: Condition): boolean {
  return c.field === "mtls" ? e.mtls === c.value : numberFits(e, c);
}

function numberFits(f: Figures, c: Condition): boolean {
  if (c.field !== "errors" && c.field !== "p95" && c.field !== "rate") return false;
  if (f.n === 0) return false;
  const value = c.field === "errors" ? f.errorRate : f[c.field];
  return c.op === ">" ? value > c.value : value < c.value;
}

/** Whether a node meets all conditions. */
export function nodeFits(n: MapNode, all: readonly Condition[]): boolean {
  return all.every((c) => {
    switch (c.field) {
      case "ns":
        return n.namespace === c.value;
      case "kind":
        return n.kind === c.value;
      case "name":
        return n.service.toLowerCase().includes(c.value.toLowerCase());
      default:
        return numberFits(n, c);
    }
  });
}

/** An edge meets what one of its ends meets by name, and the rest by its own figures; conditions on names alone find nodes. */
function fits(e: MapEdge, byId: Map<string, MapNode>, all: readonly Condition[]): boolean {
  const identity = all.filter(isIdentity);
  const figure = all.filter((c) => !isIdentity(c));
  if (figure.length === 0) return [e.from, e.to].every((id) => nodeFits(byId.get(id)!, identity));
  return (
    [e.from, e.to].some((id) => nodeFits(byId.get(id)!, identity)) && figure.every((c) => edgeFits(e, c))
  );
}

/** sumOf adds figures. Quantiles cannot be added: of several, the largest one stands. */
export function sumOf(list: readonly Figures[]): Figures {
  if (list.length === 1) return list[0]!;
  const out = { ...nothing };
  for (const f of list) {
    out.calls += f.calls;
    out.errors += f.errors;
    out.n += f.n;
    out.rate += f.rate;
    out.p50 = Math.max(out.p50, f.p50);
    out.p95 = Math.max(out.p95, f.p95);
    out.p99 = Math.max(out.p99, f.p99);
    out.estimated ||= f.estimated;
  }
  out.errorRate = out.calls > 0 ? out.errors / out.calls : 0;
  return out;
}

/** changeOf judges what a person would call a change: errors by two points, p95 by half, or being there at all. */
export function changeOf(now: Figures, before: Figures): Change {
  if (now.n === 0 && before.n === 0) return "same";
  if (before.n === 0) return "new";
  if (now.n === 0) return "gone";
  const errors = now.errorRate - before.errorRate;
  if (errors > 0.02) return "worse";
  if (errors < -0.02) return "better";
  // Under 2 ms or 20 calls, half as much again is noise.
  const few = Math.min(now.n, before.n) < 20 || Math.max(now.p95, before.p95) < 2e6;
  if (few || before.p95 === 0) return "same";
  const p95 = now.p95 / before.p95;
  return p95 > 1.5 ? "worse" : p95 < 1 / 1.5 ? "better" : "same";
}

/** worst are the edges that deserve to be read first: by errors, then by p95. */
export function worst(edges: readonly VEdge[]): VEdge[] {
  return edges
    .filter((e) => e.figures.n > 0 && !e.dim)
    .sort(
      (a, b) =>
        Number(isBad(b.figures)) - Number(isBad(a.figures)) ||
        (isBad(a.figures) ? b.figures.errorRate - a.figures.errorRate : 0) ||
        b.figures.p95 - a.figures.p95,
    )
    .slice(0, labelled);
}

export function isBad(f: Pick<Figures, "errorRate" | "n">): boolean {
  return f.n > 0 && f.errorRate >= errorThreshold;
}

/** Width of an edge in pixels: the logarithm of its rate, one call an hour to thousands a second. */
export function widthOf(rate: number): number {
  if (!(rate > 0)) return 1.25;
  const log = Math.log10(rate);
  return Math.min(7, Math.max(1.25, 2.5 + log * 1.1));
}

function mostFrequent(members: readonly MapEdge[]): string {
  const counts = new Map<string, number>();
  for (const m of members) counts.set(m.protocol, (counts.get(m.protocol) ?? 0) + m.n);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? "";
}

export function redFigures(r: Red): Figures {
  return { ...r, calls: r.weight };
}
