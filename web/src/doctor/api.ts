import { useQuery } from "@tanstack/react-query";
import { ApiError, type Ask, apiUrl, getJSON, isAbort } from "../api/client";
import type { ErrorKind } from "../api/types";
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
  async judge(
    facts: Blob,
    range: Range,
    lang: string,
    alone: boolean,
    signal?: AbortSignal,
  ): Promise<Report> {
    const url = apiUrl("doctor", { ...rangeWindow(range), lang, ...(alone ? { alone: true } : {}) });
    const tried = `POST ${url}`;
    let response: Response;
    let text: string;
    try {
      response = await fetch(url, {
        method: "POST",
        headers: { "Content-Type": "application/json", Accept: "application/json" },
        credentials: "same-origin",
        body: facts,
        signal: signal ?? null,
      });
      text = await response.text();
    } catch (cause) {
      if (isAbort(cause)) throw cause;
      throw new ApiError({ kind: "network", message: String(cause), status: 0, tried });
    }
    const requestId = response.headers.get("x-request-id") ?? undefined;
    let body: unknown;
    try {
      body = JSON.parse(text);
    } catch {
      const message = text.trim().slice(0, 200) || response.statusText;
      throw new ApiError({ kind: "network", message, status: response.status, tried, requestId });
    }
    if (response.ok) return body as Report;
    const e = (body as { error?: { kind?: ErrorKind; message?: string; hint?: string; field?: string } })
      .error;
    throw new ApiError({
      kind: e?.kind ?? "internal",
      message: e?.message ?? response.statusText,
      hint: e?.hint,
      field: e?.field,
      status: response.status,
      tried,
      requestId,
    });
  },
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
