import type { Figures, MapAnswer, MapEdge, MapNode } from "./api";
import { redFigures, sumOf } from "./graph";

const prefix = "proxy/";

/** The id of the workload whose sidecar a node is; any other id as it is. */
export function workloadId(id: string): string {
  return id.startsWith(prefix) ? `service/${id.slice(prefix.length)}` : id;
}

/** Envoy calls itself workload.namespace; an SDK says its own name. */
function isSidecar(service: string, n: MapNode): boolean {
  return n.namespace !== "" && service.endsWith(`.${n.namespace}`);
}

/**
 * splitProxies takes sidecars out of their workloads, as nodes of their own: a call then goes from the application to its sidecar,
 * to the other sidecar and to the application behind it. The first and the last leg of a call are known as sums over all
 * callees and callers: as the caller waited for them, and as the server's sidecar saw them. What a sidecar does not see
 * (databases, brokers, links) stays the application's. A workload of which only the sidecar sends spans is that sidecar.
 */
export function splitProxies(answer: MapAnswer): MapAnswer {
  const proxyOf = new Map<string, string>();
  const alone = new Set<string>();
  const nodes: MapNode[] = [];
  for (const n of answer.nodes) {
    const own = n.services.filter((s) => !isSidecar(s, n));
    if (n.kind !== "service" || own.length === n.services.length) {
      nodes.push(n);
      continue;
    }
    const id = prefix + n.id.slice("service/".length);
    proxyOf.set(n.id, id);
    if (own.length > 0) nodes.push({ ...n, services: own });
    else alone.add(n.id);
    const { slot: _, ...rest } = n;
    nodes.push({
      ...(own.length > 0 ? rest : n),
      id,
      kind: "proxy",
      services: n.services.filter((s) => isSidecar(s, n)),
      badges: [],
    });
  }

  const edges: MapEdge[] = [];
  const out = new Map<string, MapEdge[]>();
  const into = new Map<string, MapEdge[]>();
  const kinds = new Map(answer.nodes.map((n) => [n.id, n.kind]));
  for (const e of answer.edges) {
    const other = kinds.get(e.to);
    const seen = e.class !== "async" && other !== "database" && other !== "broker";
    const from = alone.has(e.from) || (seen && proxyOf.has(e.from)) ? proxyOf.get(e.from)! : e.from;
    const to = alone.has(e.to) || (seen && proxyOf.has(e.to)) ? proxyOf.get(e.to)! : e.to;
    edges.push({ ...e, from, to });
    if (e.class !== "call") continue;
    if (from !== e.from && !alone.has(e.from)) out.set(e.from, [...(out.get(e.from) ?? []), e]);
    if (to !== e.to && !alone.has(e.to)) into.set(e.to, [...(into.get(e.to) ?? []), e]);
  }
  const leg = (from: string, to: string, all: MapEdge[], figures: Figures): MapEdge => ({
    ...figures,
    from,
    to,
    class: "call",
    protocol: all[0]!.protocol,
    protocols: [...new Set(all.flatMap((e) => e.protocols))].sort(),
    seen: "both",
    flags: [],
  });
  for (const [id, all] of out)
    edges.push(leg(id, proxyOf.get(id)!, all, sumOf(all.map((e) => (e.client ? redFigures(e.client) : e)))));
  for (const [id, all] of into)
    edges.push(leg(proxyOf.get(id)!, id, all, sumOf(all.map((e) => (e.server ? redFigures(e.server) : e)))));
  return { ...answer, nodes, edges };
}
