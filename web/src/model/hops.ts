import type { Hop, HopEnd, Stage } from "../api/types";

/** The places of a call from the caller to the callee. */
export const stages: readonly Stage[] = ["caller", "caller_proxy", "callee_proxy", "callee"];

export const partNames = [
  "beyond_caller",
  "caller",
  "caller_and_network",
  "caller_to_callee",
  "beyond_caller_proxy",
  "network",
  "network_and_callee_proxy",
  "callee_proxy",
  "callee_proxy_and_callee",
  "callee",
] as const;
export type PartName = (typeof partNames)[number];

export function isPartName(name: string): name is PartName {
  return (partNames as readonly string[]).includes(name);
}

/** What kind of time a part is: in code of ours, in a proxy, on the way, or not to be told apart. */
export function partKind(name: string): "app" | "proxy" | "network" | "mixed" {
  switch (name) {
    case "caller":
    case "callee":
      return "app";
    case "callee_proxy":
      return "proxy";
    case "network":
      return "network";
    default:
      return "mixed";
  }
}

/** The row that stands for a call: the innermost that was seen. */
export function rowOfHop(h: Hop): number {
  for (let i = stages.length - 1; i >= 0; i--) {
    const found = h.rows.findLast((r) => r.stage === stages[i]);
    if (found) return found.row;
  }
  return -1;
}

/** A place in one word: the workload, else the host. */
export function endName(e: HopEnd): string {
  return e.name || e.service || "";
}

/** hopFits tells whether a call contains a text in any of what its line shows. */
export function hopFits(h: Hop, wanted: string): boolean {
  if (wanted === "") return true;
  const texts = [
    endName(h.from),
    endName(h.to),
    h.path,
    h.method,
    h.code,
    h.protocol,
    h.cluster?.host,
    h.cluster?.subset,
    h.upstream,
    ...h.flags.map((f) => f.flag),
    ...h.rows.map((r) => r.spanId),
  ];
  return texts.some((x) => x?.toLowerCase().includes(wanted));
}
