import type { Path } from "./criticalPath";
import { flag, type Trace } from "./trace";
import type { Grouping, TableColumn } from "./traceUrl";

/** A line of the table: all spans of a service, or of an operation of a service. Times in nanoseconds. */
export interface Line {
  service: number;
  /** Index of the span name; -1 where the line is a whole service. */
  name: number;
  spans: number;
  errors: number;
  /** Sum of the spans' durations; spans inside of each other count twice. */
  total: number;
  /** Time in which these spans ran and none of their children did: sums up to the work of the trace. */
  self: number;
  longest: number;
  /** Row of the longest span. */
  longestRow: number;
  /** Time on the critical path. */
  path: number;
}

/** summarize sums a trace up by service or by operation. One pass over the rows; placeholders do not count. */
export function summarize(t: Trace, self: Float64Array, path: Path, by: Grouping): Line[] {
  const lines: Line[] = [];
  const at = new Map<number, number>();
  const names = t.names.length + 1;
  const lineOf = (r: number): Line => {
    const name = by === "service" ? -1 : t.name[r]!;
    const key = t.service[r]! * names + name + 1;
    let i = at.get(key);
    if (i === undefined) {
      i = lines.length;
      at.set(key, i);
      lines.push({
        service: t.service[r]!,
        name,
        spans: 0,
        errors: 0,
        total: 0,
        self: 0,
        longest: -1,
        longestRow: r,
        path: 0,
      });
    }
    return lines[i]!;
  };
  for (let r = 0; r < t.n; r++) {
    if (t.flags[r]! & flag.missing) continue;
    const line = lineOf(r);
    line.spans++;
    if (t.flags[r]! & flag.error) line.errors++;
    line.total += t.duration[r]!;
    line.self += self[r]!;
    if (t.duration[r]! > line.longest) {
      line.longest = t.duration[r]!;
      line.longestRow = r;
    }
  }
  for (let i = 0; i < path.row.length; i++) lineOf(path.row[i]!).path += path.to[i]! - path.from[i]!;
  return lines;
}

/** sortLines orders by a column, the largest first (names from a to z); equals by name. */
export function sortLines(lines: readonly Line[], t: Trace, column: TableColumn): Line[] {
  const text = (l: Line) => `${t.services[l.service]?.name ?? ""} ${t.names[l.name] ?? ""}`;
  const value = (l: Line) => {
    switch (column) {
      case "name":
        return 0;
      case "average":
        return l.total / Math.max(1, l.spans);
      default:
        return l[column];
    }
  };
  return lines
    .map((l) => ({ l, value: value(l), text: text(l) }))
    .sort((a, b) => b.value - a.value || (a.text < b.text ? -1 : a.text > b.text ? 1 : 0))
    .map((x) => x.l);
}
