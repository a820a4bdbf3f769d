import { build, type Rest, restOf } from "../model/rest";

/** Forms that the screen offers, in the order of the server; the rest need words that only the command line takes. */
export const forms = [
  "configmap",
  "istiooperator",
  "helm",
  "telemetry",
  "envoyfilter",
  "networkpolicy",
  "opentelemetry-env",
  "kiali",
  "grafana",
  "prometheus",
] as const;
export type Form = (typeof forms)[number];

/** Files of a repository; the others are objects of a cluster. */
export const repositoryForms: readonly string[] = ["istiooperator", "helm"];

export const defaultForms: readonly string[] = ["configmap", "telemetry"];

/** What `sampling` is while a rate of one's own is chosen and not typed yet. */
export const ownRate = "custom";

/** The whole form as typed: what the server refuses is kept and explained. Empty is the server's default. */
export interface MeshView {
  protocol: "otlp" | "zipkin";
  /** A preset, or a percentage as typed. */
  sampling: string;
  version: string;
  namespace: string;
  tags: string[];
  for: string[];
  /** Percentage at which traces begin now, as typed, where no policy tells it. */
  now: string;
  rest: Rest;
}

const known = ["protocol", "sampling", "version", "namespace", "tags", "for", "now"];

export function parseMesh(query: string): MeshView {
  const p = new URLSearchParams(query);
  const wanted = p.get("for");
  return {
    protocol: p.get("protocol") === "zipkin" ? "zipkin" : "otlp",
    sampling: p.get("sampling") ?? "",
    version: p.get("version") ?? "",
    namespace: p.get("namespace") ?? "",
    tags: p.getAll("tags").filter((tag) => tag !== ""),
    for: wanted ? wanted.split(",").filter((f) => f !== "") : [...defaultForms],
    now: p.get("now") ?? "",
    rest: restOf(p, known),
  };
}

export function formatMesh(v: MeshView): string {
  const standard = v.for.length === 0 || v.for.join() === defaultForms.join();
  return build(
    [
      ["protocol", v.protocol === "otlp" ? undefined : v.protocol],
      ["sampling", v.sampling],
      ["version", v.version],
      ["namespace", v.namespace],
      ...v.tags.map((tag): [string, string] => ["tags", tag]),
      ["for", standard ? undefined : v.for.join(",")],
      ["now", v.now],
    ],
    v.rest,
  );
}

/** What the API is asked for a form; what the form leaves open is left out. */
export function meshParams(v: MeshView): Record<string, string | string[]> {
  const out: Record<string, string | string[]> = {};
  if (v.protocol !== "otlp") out["protocol"] = v.protocol;
  if (v.sampling !== "" && v.sampling !== ownRate) out["sampling"] = v.sampling;
  if (v.version !== "") out["version"] = v.version;
  if (v.namespace !== "") out["namespace"] = v.namespace;
  if (v.tags.length > 0) out["tags"] = v.tags;
  if (v.for.length > 0 && v.for.join() !== defaultForms.join()) out["for"] = v.for.join(",");
  return out;
}

/** toggleForm adds or takes away a form. The two ways to set a tracer exclude each other, and one always stays. */
export function toggleForm(list: readonly string[], form: string): string[] {
  if (list.includes(form)) return list.length > 1 ? list.filter((f) => f !== form) : [...list];
  const against: Record<string, string> = { envoyfilter: "telemetry", telemetry: "envoyfilter" };
  const next = [...list.filter((f) => f !== against[form]), form];
  const order: readonly string[] = forms;
  return next.sort((a, b) => order.indexOf(a) - order.indexOf(b));
}
