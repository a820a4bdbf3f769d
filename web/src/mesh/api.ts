import { useQuery } from "@tanstack/react-query";
import { getJSON } from "../api/client";

export interface Rendered {
  /** Minor of Istio; empty where no form asks for it. */
  version: string;
  versionFrom: "given" | "proxies" | "none";
  protocol: "otlp" | "zipkin";
  /** Percent. */
  sampling: number;
  /** Percentage at which policies begin traces now, where the server knows it. */
  inForce?: number;
  documents: { for: string; name: string; use: "apply" | "merge"; yaml: string }[];
  command: string;
}

export interface Change {
  object: string;
  for: string;
  action: "create" | "change";
  diff: string;
  effect: string;
  live?: string;
  restart?: string;
  workloads: string[];
  owner?: { tool?: "argocd" | "flux" | "helm" | "operator"; name?: string; hand?: string };
  instead?: string;
}

export interface Plan {
  version: string;
  versionFrom: string;
  /** Nanoseconds since 1970. */
  collected: string;
  changes: Change[];
  same: string[];
  policies: { workload: string; before: string; after: string }[];
  notes: string[];
}

type Params = Record<string, string | string[]>;

/** What is typed is not asked for letter by letter: the caller hands in what has settled. */
export function useRender(params: Params) {
  return useQuery({
    queryKey: ["mesh", "render", params],
    queryFn: ({ signal }) => getJSON<Rendered>("mesh/render", params, { signal }),
    staleTime: 60_000,
  });
}

/** The plan of the cluster; not asked for before the form is one that can be rendered. */
export function usePlan(params: Params) {
  return useQuery({
    queryKey: ["mesh", "plan", params],
    queryFn: ({ signal }) => getJSON<Plan>("mesh/plan", params, { signal }),
    staleTime: 15_000,
  });
}
