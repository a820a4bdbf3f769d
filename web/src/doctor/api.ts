import { useQuery } from "@tanstack/react-query";
import { type Ask, getJSON, postFile } from "../api/client";
import { type Range, rangeWindow } from "../model/time";

export type Severity = "error" | "warning" | "info";
export type Light = "green" | "red" | "unknown";

export interface Finding {
  /** T0101 and the like. */
  code: string;
  cause: string;
  severity: Severity;
  title: string;
  detail?: string;
  object: { kind?: string; namespace?: string; name?: string; file?: string; line?: number; path?: string };
  /** namespace/name; only a name where no namespace is known; `sender ADDRESS` where no workload is. */
  workloads: string[];
  evidence: string[];
  consequence: string;
  fix: { text: string; command?: string; diff?: string; general?: string };
  /** Causes and codes this follows from. */
  dependsOn: string[];
  docs: string;
}

export interface Station {
  name: string;
  state: Light;
  reason?: string;
  cause?: string;
}

export interface Report {
  state: "healthy" | "partial" | "broken" | "unknown";
  reason: string;
  findings: Finding[];
  stations: { workload: string; stations: Station[] }[];
  unread?: { name: string; why: string }[];
  source?: string;
  collected?: string;
  window?: { from: string; to: string };
}

/** What `spanloom doctor --save` writes is at most this large for the API, bytes. */
export const mostFacts = 64 * 1024 * 1024;

export const doctorApi = {
  report: (range: Range, lang: string, ask?: Ask) =>
    getJSON<Report>("doctor", { ...rangeWindow(range), lang }, ask),
  /** Judges a saved facts file; `alone` leaves this server's receipts out. */
  judge: (facts: Blob, range: Range, lang: string, alone: boolean, ask?: Ask) =>
    postFile<Report>(
      "doctor",
      { ...rangeWindow(range), lang, ...(alone ? { alone: true } : {}) },
      facts,
      ask,
    ),
};

export function useDoctor(range: Range, lang: string) {
  return useQuery({
    queryKey: ["doctor", range, lang],
    queryFn: ({ signal }) => doctorApi.report(range, lang, { signal }),
    staleTime: 30_000,
    refetchInterval: range.kind === "last" ? 60_000 : false,
  });
}

/** What reports call a workload: only its name where no namespace is known. */
export function workloadName(namespace: string, name: string): string {
  return namespace === "" ? name : `${namespace}/${name}`;
}

/** Findings by workload (namespace/name), the gravest first; info counts for nothing here. */
export function findingsByWorkload(report: Report | undefined): Map<string, Finding[]> {
  const out = new Map<string, Finding[]>();
  for (const f of report?.findings ?? []) {
    if (f.severity === "info") continue;
    for (const w of f.workloads) out.set(w, [...(out.get(w) ?? []), f]);
  }
  for (const list of out.values())
    list.sort((a, b) => Number(b.severity === "error") - Number(a.severity === "error"));
  return out;
}
