import type { Instant } from "../api/types";
import { flag, kindNames, type Trace } from "./trace";

const hour = 3600;

/** Which spans are a span's peers: an hour of the same service, operation and kind, in TraceQL and Unix seconds. */
export interface PeerQuery {
  filter: string;
  start: number;
  end: number;
  duration: number;
}

/** peerQuery looks at the last hour if the span lies in it, else at the hour around it. */
export function peerQuery(t: Trace, row: number, nowMs: number): PeerQuery {
  const seconds = Number(BigInt(t.traceStart) / 1_000_000_000n);
  const now = Math.floor(nowMs / 1000);
  const recent = seconds > now - hour;
  const end = recent ? now : seconds + hour / 2;
  const parts = [
    `resource.service.name = ${quoted(t.services[t.service[row]!]?.name ?? "")}`,
    `name = ${quoted(t.names[t.name[row]!] ?? "")}`,
    `kind = ${kindNames[t.kind[row]!] ?? "unspecified"}`,
  ];
  return { filter: parts.join(" && "), start: end - hour, end, duration: Math.round(t.duration[row]!) };
}

/** Whether peers can be asked for: names that were derived are in no index. */
export function hasPeers(t: Trace, row: number): boolean {
  return (t.flags[row]! & (flag.missing | flag.serviceDerived | flag.nameDerived)) === 0;
}

function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, (c) => `\\${c}`).replace(/\n/g, "\\n")}"`;
}

/** The three questions: how many there are, how many are faster, and the usual quantiles. */
export function peerQuestions(q: PeerQuery): [all: string, faster: string, quantiles: string] {
  return [
    `{ ${q.filter} } | count_over_time()`,
    `{ ${q.filter} && duration < ${q.duration}ns } | count_over_time()`,
    `{ ${q.filter} } | quantile_over_time(duration, 0.5, 0.95, 0.99)`,
  ];
}

/** The sum of all series: counts. */
export function total(a: Instant): number {
  return (a.series ?? []).reduce((sum, s) => sum + (s.value ?? 0), 0);
}

/** A quantile in nanoseconds; undefined if it is not in the answer. */
export function quantile(a: Instant, p: number): number | undefined {
  const found = a.series?.find((s) => s.labels?.some((l) => l.key === "p" && l.value?.doubleValue === p));
  return found?.value === undefined ? undefined : found.value * 1e9;
}
