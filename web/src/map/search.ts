import { escapeRegExp, type Filter } from "../model/filters";
import { searchFor } from "../model/searchUrl";
import type { Range } from "../model/time";
import type { MapEdge, MapNode } from "./api";

/** A condition on the names under which a workload's spans are listed. */
function ofService(names: readonly string[]): Filter {
  return names.length === 1
    ? { field: "service", op: "=", value: names[0]! }
    : { field: "service", op: "=~", value: names.map(escapeRegExp).join("|") };
}

/**
 * edgeFilters finds the spans of the calls between two nodes. Both conditions of a pair do not hold on one span, so the side that
 * names the other is taken: an Envoy's client span names its cluster; else the callee's own spans are, whoever called.
 */
export function edgeFilters(
  e: Pick<MapEdge, "class">,
  from: MapNode | undefined,
  to: MapNode | undefined,
): Filter[] {
  const caller = from?.services ?? [];
  const callee = to?.services ?? [];
  const proxies = caller.filter((s) => from && s.endsWith(`.${from.namespace}`) && from.namespace !== "");
  if (to && proxies.length > 0 && e.class === "call") {
    const cluster = (value: string): Filter[] => [
      ofService(proxies),
      { field: "kind", op: "=", value: "client" },
      { field: "span.upstream_cluster", op: "=~", value },
    ];
    const host = escapeRegExp(to.service);
    switch (to.kind) {
      case "service":
      case "waypoint":
      case "gateway":
        return cluster(`.*[|]${host}[.].*|${host}`);
      case "external":
        return cluster(`.*[|]${host}`);
      case "passthrough":
        return cluster("PassthroughCluster");
      case "blackhole":
        return cluster("BlackHoleCluster");
    }
  }
  // Databases are named by db.system or db.system.name, and no condition says "either": the application's calls are shown.
  if (to?.kind === "database" && caller.length > 0) {
    const apps = caller.filter((s) => !proxies.includes(s));
    return [ofService(apps.length > 0 ? apps : caller), { field: "kind", op: "=", value: "client" }];
  }
  if (to?.kind === "broker" && caller.length > 0)
    return [ofService(caller), { field: "kind", op: "=", value: "producer" }];
  if (from?.kind === "broker" && callee.length > 0)
    return [ofService(callee), { field: "kind", op: "=", value: "consumer" }];
  if (callee.length > 0) return [ofService(callee), { field: "kind", op: "=", value: "server" }];
  if (caller.length > 0) return [ofService(caller), { field: "kind", op: "=", value: "client" }];
  return [];
}

export function edgeSearch(
  e: Pick<MapEdge, "class">,
  from: MapNode | undefined,
  to: MapNode | undefined,
  range: Range,
  failed: boolean,
): string {
  const filters = edgeFilters(e, from, to);
  if (failed) filters.push({ field: "status", op: "=", value: "error" });
  return `/search?${searchFor(filters, range)}`;
}

export function nodeSearch(n: Pick<MapNode, "services">, range: Range, failed = false): string | undefined {
  if (n.services.length === 0) return undefined;
  const filters = [ofService(n.services)];
  if (failed) filters.push({ field: "status", op: "=", value: "error" });
  return `/search?${searchFor(filters, range)}`;
}
