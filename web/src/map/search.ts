import { escapeRegExp, type Filter } from "../model/filters";
import { formatSearch, searchFor } from "../model/searchUrl";
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
      case "proxy":
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
  if (to?.kind === "broker" && caller.length > 0)
    return [ofService(caller), { field: "kind", op: "=", value: "producer" }];
  if (from?.kind === "broker" && callee.length > 0)
    return [ofService(callee), { field: "kind", op: "=", value: "consumer" }];
  if (callee.length > 0) return [ofService(callee), { field: "kind", op: "=", value: "server" }];
  if (caller.length > 0) return [ofService(caller), { field: "kind", op: "=", value: "client" }];
  return [];
}

/** A database is named by db.system or by db.system.name: "either" takes TraceQL. Its proxies do not see the call. */
export function databaseQuery(
  from: MapNode | undefined,
  to: MapNode | undefined,
  failed: boolean,
): string | undefined {
  if (to?.kind !== "database" || !from || from.services.length === 0) return undefined;
  const apps = from.services.filter((s) => from.namespace === "" || !s.endsWith(`.${from.namespace}`));
  const names = apps.length > 0 ? apps : from.services;
  const service =
    names.length === 1 ? `= ${text(names[0]!)}` : `=~ ${text(names.map(escapeRegExp).join("|"))}`;
  const system = text(to.service.split("/")[0]!);
  const conditions = [
    `resource.service.name ${service}`,
    "kind = client",
    `(span.db.system = ${system} || span.db.system.name = ${system})`,
    ...(failed ? ["status = error"] : []),
  ];
  return `{ ${conditions.join(" && ")} }`;
}

/** A string of TraceQL. */
function text(s: string): string {
  return JSON.stringify(s.toWellFormed());
}

export function edgeSearch(
  e: Pick<MapEdge, "class">,
  from: MapNode | undefined,
  to: MapNode | undefined,
  range: Range,
  failed: boolean,
): string {
  const database = databaseQuery(from, to, failed);
  if (database)
    return `/search?${formatSearch({ query: database, range, limit: 20, sort: "newest", apart: undefined, rest: [] })}`;
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
