import type { Attribute } from "../api/types";
import { visible } from "./visible";

/**
 * Response flags of Envoy's access log that stand in span attributes. The texts for people are in
 * the dictionaries under these codes.
 */
// biome-ignore format: a table
export const responseFlags = [
  "UH", "UF", "UO", "NR", "URX", "NC", "DT", "DC", "LH", "UT", "LR", "UR", "UC", "DI", "FI", "RL",
  "UAEX", "RLSE", "IH", "SI", "DPE", "UPE", "UMSDR", "OM", "DF", "RFCF", "NFCF", "DO", "DR", "UDO",
] as const;
export type ResponseFlag = (typeof responseFlags)[number];

export function isResponseFlag(text: string): text is ResponseFlag {
  return (responseFlags as readonly string[]).includes(text);
}

/** Where Envoy sent a request, out of a cluster's name. */
export interface Cluster {
  kind: "service" | "inbound" | "passthrough" | "blackhole" | "other";
  name: string;
  host?: string;
  port?: string;
  subset?: string;
}

/** readCluster parses `outbound|9080|v1|reviews.bookinfo.svc.cluster.local`; Istio ends some names in ";". */
export function readCluster(text: string): Cluster {
  const name = text.replace(/;$/, "");
  if (/^(InboundPassthroughCluster\w*|PassthroughCluster)$/.test(name)) return { kind: "passthrough", name };
  if (name === "BlackHoleCluster") return { kind: "blackhole", name };
  const parts = name.split("|");
  if (parts.length !== 4) return { kind: "other", name };
  const [direction, port = "", subset = "", host = ""] = parts;
  const kind = direction === "inbound" ? "inbound" : direction === "outbound" ? "service" : "other";
  return {
    kind,
    name,
    ...(host ? { host } : {}),
    ...(port ? { port } : {}),
    ...(subset ? { subset } : {}),
  };
}

/** shortHost cuts the cluster's domain: reviews.bookinfo.svc.cluster.local is reviews.bookinfo. */
export function shortHost(host: string): string {
  return host.replace(/\.svc(\.[\w-]+)+$/, "");
}

/**
 * shortOperation makes room in narrow rows: Envoy names its spans after the host, so the domain of the
 * cluster stands in almost every name and tells nothing. What a name hides is shown.
 */
export function shortOperation(name: string): string {
  return visible(name.replace(".svc.cluster.local", ""));
}

/** What a proxy's span says about the mesh, in the order it is worth reading. */
export type MeshFact =
  | { kind: "flag"; code: ResponseFlag }
  | { kind: "cluster"; cluster: Cluster }
  | { kind: "httpStatus"; code: string }
  | { kind: "grpcStatus"; code: string }
  | { kind: "retries"; count: number }
  | { kind: "pod"; role: string; name: string; namespace: string }
  | { kind: "mesh"; id: string; cluster: string };

function text(attributes: readonly Attribute[], key: string): string {
  const a = attributes.find((x) => x.key === key);
  return a === undefined || a.value === null || typeof a.value === "object" ? "" : String(a.value);
}

/** meshFacts reads Envoy's and Istio's attributes of a span. */
export function meshFacts(attributes: readonly Attribute[]): MeshFact[] {
  const facts: MeshFact[] = [];
  for (const code of text(attributes, "response_flags").split(",")) {
    if (isResponseFlag(code)) facts.push({ kind: "flag", code });
  }
  const http = text(attributes, "http.status_code") || text(attributes, "http.response.status_code");
  if (/^[45]\d\d$/.test(http) || http === "0") facts.push({ kind: "httpStatus", code: http });
  const grpc = text(attributes, "grpc.status_code") || text(attributes, "rpc.grpc.status_code");
  if (grpc && grpc !== "0") facts.push({ kind: "grpcStatus", code: grpc });
  const retries = Number(text(attributes, "retry.count") || text(attributes, "http.request.resend_count"));
  if (retries > 0) facts.push({ kind: "retries", count: retries });
  const cluster = text(attributes, "upstream_cluster.name") || text(attributes, "upstream_cluster");
  if (cluster && cluster !== "-") facts.push({ kind: "cluster", cluster: readCluster(cluster) });
  const node = text(attributes, "node_id").split("~");
  if (node.length >= 3) {
    const dot = node[2]!.lastIndexOf(".");
    facts.push({
      kind: "pod",
      role: node[0]!,
      name: dot > 0 ? node[2]!.slice(0, dot) : node[2]!,
      namespace: dot > 0 ? node[2]!.slice(dot + 1) : "",
    });
  }
  const mesh = text(attributes, "istio.mesh_id");
  const home = text(attributes, "istio.cluster_id");
  if (mesh || home) facts.push({ kind: "mesh", id: mesh, cluster: home });
  return facts;
}
