import { type Ask, getJSON, type Window } from "../api/client";
import type { Read, Red } from "../api/types";
import type { MtlsWord } from "../model/conditions";

export type NodeKind =
  | "service"
  /** A sidecar, apart from its workload: made here, see splitProxies. */
  | "proxy"
  | "gateway"
  | "waypoint"
  | "external"
  | "database"
  | "broker"
  | "passthrough"
  | "blackhole"
  | "client"
  | "unknown"
  | "other";

export type EdgeClass = "call" | "async" | "telemetry";
export type BadgeName = "no_spans" | "no_sidecar" | "inferred" | "silent";

/** Figures of a node or an edge over the window; `calls` are corrected for sampling where that is known. */
export interface Figures {
  calls: number;
  errors: number;
  n: number;
  rate: number;
  errorRate: number;
  p50: number;
  p95: number;
  p99: number;
  estimated: boolean;
  deviation?: number;
}

export interface MapNode extends Figures {
  /** kind/namespace/name */
  id: string;
  kind: NodeKind;
  namespace: string;
  service: string;
  services: string[];
  slot?: number;
  versions: { version: string; red: Red }[];
  badges: BadgeName[];
  inferredFrom?: string;
}

export interface Flag {
  flag: string;
  n: number;
  meaning?: string;
  cause?: string;
}

export interface MapEdge extends Figures {
  from: string;
  to: string;
  class: EdgeClass;
  protocol: string;
  protocols: string[];
  client?: Red;
  server?: Red;
  seen: "both" | "client" | "server";
  /** Between workloads, as policies of the cluster say; absent for what has no sidecar. */
  mtls?: MtlsWord;
  /** The object or fact that says so, in the language that was asked for. */
  mtlsSource?: string;
  flags: Flag[];
  slowest?: string;
  failed?: string;
}

export interface Missing {
  kind: string;
  node: string;
  from?: string;
  lastTime?: string;
  message: string;
}

export interface MapAnswer {
  nodes: MapNode[];
  edges: MapEdge[];
  missing: Missing[];
  notes: { kind: string; message: string }[];
  complete: boolean;
  reason?: string;
  away?: boolean;
  read?: Read;
}

export interface SeriesPoint {
  start: string;
  duration: number;
  red: Red;
  slowest?: string;
  failed?: string;
}

export interface Example {
  traceId: string;
  start: string;
  duration?: number;
  flag?: string;
}

export interface EdgeDetail {
  edge: MapEdge;
  from: MapNode;
  to: MapNode;
  series: SeriesPoint[];
  slow: Example[];
  failed: Example[];
  complete: boolean;
  reason?: string;
  away?: boolean;
  read?: Read;
}

export interface ServiceDetail {
  node: MapNode;
  operations: { operation: string; kind: string; red: Red; slowest?: string; failed?: string }[];
  callers: MapEdge[];
  callees: MapEdge[];
  series: SeriesPoint[];
  missing: Missing[];
  complete: boolean;
  reason?: string;
  away?: boolean;
  read?: Read;
}

export const mapApi = {
  map: (w: Window, telemetry: boolean, lang: string, ask?: Ask) =>
    getJSON<MapAnswer>("map", { ...w, ...(telemetry ? { telemetry: true } : {}), lang }, ask),
  edge: (e: { from: string; to: string; class: EdgeClass }, w: Window, buckets: number, ask?: Ask) =>
    getJSON<EdgeDetail>("edge", { from: e.from, to: e.to, class: e.class, ...w, buckets }, ask),
  service: (node: string, w: Window, buckets: number, ask?: Ask) =>
    getJSON<ServiceDetail>("service", { node, ...w, buckets }, ask),
};
