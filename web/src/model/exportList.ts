import type { TraceSummary } from "../api/types";
import { instantMs } from "./time";

/** The loaded traces as JSON: as the API sent them, with the search that found them. */
export function tracesJson(
  traces: readonly TraceSummary[],
  { search, complete }: { search: string; complete: boolean },
): string {
  return `${JSON.stringify({ search, complete, traces }, null, 2)}\n`;
}

const columns = [
  "traceId",
  "start",
  "durationNs",
  "rootService",
  "rootOperation",
  "spans",
  "errors",
  "matched",
  "services",
] as const;

/** The same as CSV (RFC 4180). Text that a spreadsheet would take for a formula gets an apostrophe. */
export function tracesCsv(traces: readonly TraceSummary[]): string {
  const rows = traces.map((t) => [
    t.traceId,
    iso(t.start),
    String(t.duration),
    t.rootService,
    t.rootOperation,
    String(t.spans),
    String(t.errors),
    String(t.matched),
    t.services.map((s) => s.name).join(" "),
  ]);
  return [columns, ...rows].map((r) => `${r.map(cell).join(",")}\r\n`).join("");
}

function iso(instant: string): string {
  const ms = instantMs(instant);
  const date = new Date(Math.floor(ms));
  return Number.isNaN(date.getTime()) ? instant : date.toISOString().replace("Z", `${instant.slice(-6)}Z`);
}

function cell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) && !/^-?\d+(\.\d+)?$/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
