// The mesh screen's answers: those of a real server beside a real API server (test/kube, TestProgram; an owner is added, so that
// one is seen), with the words of the form in the command.
import { readFileSync } from "node:fs";

const recorded = JSON.parse(readFileSync(new URL("mesh-recorded.json", import.meta.url), "utf8"));

/** What is wrong with a form, as the server says it; undefined if nothing is. */
export function meshRefusal(q) {
  const rate = q.get("sampling");
  if (rate && Number(rate) > 100)
    return {
      field: "sampling",
      message: `"${rate}" is more than everything: Istio takes 1 % instead`,
      hint: "write a percentage up to 100",
    };
  if (/[^a-z0-9-]/.test(q.get("namespace") ?? ""))
    return {
      field: "namespace",
      message: `"${q.get("namespace")}" is no name that Kubernetes takes`,
      hint: "lower-case letters, digits and dashes, at most 63 of them",
    };
  return undefined;
}

export function meshRender(q) {
  const forms = q.get("for")?.split(",") ?? ["configmap", "telemetry"];
  const inFiles = forms.some((f) => f === "helm" || f === "istiooperator");
  const flags = [...q].map(([k, v]) => `--${k === "version" ? "istio-version" : k} ${v}`);
  const zipkin = q.get("protocol") === "zipkin";
  const word = (yaml) => (zipkin ? yaml.replace("opentelemetry:", "zipkin:") : yaml);
  return {
    ...recorded.render,
    ...(q.get("version") ? { version: q.get("version"), versionFrom: "given" } : {}),
    protocol: zipkin ? "zipkin" : "otlp",
    documents: recorded.render.documents.map((d, i) => ({
      ...d,
      for: forms[i] ?? d.for,
      yaml: word(d.yaml),
    })),
    command: [
      "spanloom mesh",
      inFiles ? "plan -f DIR" : "apply",
      ...flags,
      ...(inFiles ? ["-o patch | git apply"] : []),
    ].join(" "),
  };
}

export const meshPlan = () => recorded.plan;
