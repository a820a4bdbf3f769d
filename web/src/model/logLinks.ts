import { flag, type Trace } from "./trace";

/** A link to logs: a name for people and an address with variables in braces. */
export interface LogTemplate {
  name: string;
  url: string;
}

/** What a template can name. Times are those of the span with a little room on both sides. */
export const logVariables = [
  "traceId",
  "spanId",
  "service",
  "group",
  "namespace",
  "pod",
  "startMs",
  "endMs",
  "startNs",
  "endNs",
  "startIso",
  "endIso",
] as const;
export type LogVariable = (typeof logVariables)[number];
export type LogContext = Record<LogVariable, string>;

/**
 * Where people keep their logs. HOST is theirs to fill in. The queries look for `trace.id` (ECS) or for the id as text;
 * what a store calls the field differs from mesh to mesh, so a template is a start.
 */
export const logPresets: readonly LogTemplate[] = [
  {
    name: "Kibana",
    url: "https://HOST/app/discover#/?_g=(time:(from:'{startIso}',to:'{endIso}'))&_a=(query:(language:kuery,query:'trace.id:\"{traceId}\"'))",
  },
  {
    name: "Grafana Loki",
    url: 'https://HOST/explore?schemaVersion=1&orgId=1&panes={"a":{"datasource":"loki","queries":[{"refId":"A","expr":"{namespace=\\"{namespace}\\"} |= \\"{traceId}\\""}],"range":{"from":"{startMs}","to":"{endMs}"}}}',
  },
  {
    name: "OpenSearch",
    url: "https://HOST/app/data-explorer/discover#?_q=(query:(language:lucene,query:'trace.id:\"{traceId}\"'))&_g=(time:(from:'{startIso}',to:'{endIso}'))",
  },
  {
    name: "VictoriaLogs",
    url: 'https://HOST/select/vmui/#/?query="{traceId}" AND kubernetes.pod_namespace:"{namespace}"&g0.start_input={startIso}&g0.end_input={endIso}',
  },
];

export type TemplateProblem = "noUrl" | "notHttp" | "host" | "unknownVariable" | "tooLong" | "noName";

const variable = /\{([a-zA-Z]+)\}/g;

/** checkTemplate says what is wrong with a template, and with which part of it. */
export function checkTemplate(t: LogTemplate): { problem: TemplateProblem; text: string } | undefined {
  if (t.name.trim() === "") return { problem: "noName", text: "" };
  const url = t.url.trim();
  if (url === "") return { problem: "noUrl", text: "" };
  if (url.length > 4000) return { problem: "tooLong", text: String(url.length) };
  // A variable before the host's end could make an address of another kind.
  if (!/^https?:\/\/[^/{}\s]+(\/|$|\?|#)/i.test(url)) return { problem: "notHttp", text: url.slice(0, 60) };
  if (/^https?:\/\/HOST(\/|$|\?|#)/.test(url)) return { problem: "host", text: "HOST" };
  for (const [, name = ""] of url.matchAll(variable)) {
    if (!(logVariables as readonly string[]).includes(name))
      return { problem: "unknownVariable", text: name };
  }
  return undefined;
}

/** logUrl fills a template in: every value is escaped for an address, and so are the template's own blanks and quotes. */
export function logUrl(t: LogTemplate, context: LogContext): string {
  const filled = t.url
    .trim()
    .replace(variable, (whole, name: string) =>
      (logVariables as readonly string[]).includes(name)
        ? encodeURIComponent(escapeQuotes(context[name as LogVariable]).toWellFormed())
        : whole,
    );
  return filled.replace(/[\s"<>\\^`{|}]/g, (c) => encodeURIComponent(c));
}

/** Values stand between quotes in the queries; a quote in a name must not end them. */
function escapeQuotes(text: string): string {
  return text.replace(/["'\\]/g, "");
}

/** readTemplates takes what is valid in stored text, at most twenty. */
export function readTemplates(value: unknown): LogTemplate[] {
  if (!Array.isArray(value)) return [];
  return value
    .filter(
      (v): v is LogTemplate =>
        typeof v === "object" && v !== null && typeof v.name === "string" && typeof v.url === "string",
    )
    .map(({ name, url }) => ({ name: name.slice(0, 60), url }))
    .filter((t) => checkTemplate(t) === undefined)
    .slice(0, 20);
}

/** Room before and after the span: log lines are written a little earlier or later. */
const room = 5_000;

/** logContext is what the templates know of a span. */
export function logContext(t: Trace, row: number, spanId: string, pod: string, rawStart: string): LogContext {
  const service = t.services[t.service[row]!];
  const startNs = BigInt(/^-?\d+$/.test(rawStart) ? rawStart : t.traceStart);
  const length = t.flags[row]! & flag.missing ? 0 : Math.round(t.duration[row]!);
  const from = startNs - BigInt(room) * 1_000_000n;
  const to = startNs + BigInt(length) + BigInt(room) * 1_000_000n;
  const ms = (ns: bigint) => (ns / 1_000_000n).toString();
  const iso = (ns: bigint) => {
    const at = new Date(Number(ns / 1_000_000n));
    return Number.isNaN(at.getTime()) ? "" : at.toISOString();
  };
  return {
    traceId: t.traceId,
    spanId,
    service: service?.name ?? "",
    group: service?.group ?? "",
    namespace: service?.namespace ?? "",
    pod,
    startMs: ms(from),
    endMs: ms(to),
    startNs: from.toString(),
    endNs: to.toString(),
    startIso: iso(from),
    endIso: iso(to),
  };
}
