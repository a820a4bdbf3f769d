import type { Finding, Report, Station } from "./api";

/** The stations in the order in which spans pass them. */
export const stationNames = [
  "injected",
  "policy",
  "accepted",
  "listener",
  "cluster",
  "endpoint",
  "tls",
  "network",
  "receiver",
  "stored",
  "joined",
] as const;

export interface Cause {
  finding: Finding;
  /** What is there because of it. */
  follows: Finding[];
}

/**
 * causes puts what follows from another finding below it, however long the chain is; notes of cost and style are apart. A finding
 * whose cause is not in the report, or that is part of a ring, stands for itself.
 */
export function causes(report: Report): { causes: Cause[]; notes: Finding[] } {
  const serious = report.findings.filter((f) => f.severity !== "info");
  const notes = report.findings.filter((f) => f.severity === "info");
  const parentOf = (f: Finding) =>
    serious.find((o) => o !== f && (f.dependsOn.includes(o.cause) || f.dependsOn.includes(o.code)));
  const rootOf = (f: Finding): Finding => {
    const seen = new Set<Finding>();
    let at = f;
    for (;;) {
      const up = parentOf(at);
      if (!up) return at;
      if (seen.has(up)) return f;
      seen.add(at);
      at = up;
    }
  };
  const roots = new Map<Finding, Finding[]>();
  for (const f of serious) if (rootOf(f) === f) roots.set(f, []);
  for (const f of serious) {
    const root = rootOf(f);
    if (root !== f) roots.get(root)?.push(f);
  }
  return { causes: [...roots].map(([finding, follows]) => ({ finding, follows })), notes };
}

/** The index of the first broken station; -1 if none is. */
export function firstRed(stations: readonly Station[]): number {
  return stations.findIndex((s) => s.state === "red");
}

/** Workloads in the order of how early their path breaks; fine and unknown ones behind, by name. */
export function byTrouble(report: Report): Report["stations"] {
  const rank = (stations: readonly Station[]) => {
    const at = firstRed(stations);
    return at < 0 ? stationNames.length : at;
  };
  return [...report.stations].sort(
    (a, b) => rank(a.stations) - rank(b.stations) || (a.workload < b.workload ? -1 : 1),
  );
}

/** findingOf is the finding that explains a red station of a workload. */
export function findingOf(report: Report, workload: string, station: Station): Finding | undefined {
  if (station.state !== "red") return undefined;
  return (
    report.findings.find((f) => f.cause === station.cause && f.workloads.includes(workload)) ??
    report.findings.find((f) => f.cause === station.cause)
  );
}

/** Parts of a line in which trace ids are links: 32 hexadecimal digits that stand alone. */
export function withTraces(line: string): { text: string; trace: boolean }[] {
  const out: { text: string; trace: boolean }[] = [];
  let at = 0;
  for (const m of line.matchAll(/(?<![0-9a-zA-Z])[0-9a-f]{32}(?![0-9a-zA-Z])/g)) {
    if (m.index > at) out.push({ text: line.slice(at, m.index), trace: false });
    out.push({ text: m[0], trace: true });
    at = m.index + m[0].length;
  }
  if (at < line.length) out.push({ text: line.slice(at), trace: false });
  return out;
}

/** Telemetry istio-system/mesh-default, spec.tracing[0], mesh.yaml:12 */
export function objectText(o: Finding["object"]): string {
  const name = [o.namespace, o.name].filter(Boolean).join("/");
  const place = o.file ? (o.line ? `${o.file}:${o.line}` : o.file) : undefined;
  return [[o.kind, name].filter(Boolean).join(" "), o.path, place].filter(Boolean).join(", ");
}
