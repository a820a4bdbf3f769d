import fc from "fast-check";
import type { Skeleton } from "../api/types";
import { type Trace, traceOf } from "./trace";

// Traces for tests: written as text, and any at all.

/**
 * A trace as text: indentation is the tree, a line is `name service start+length marks`, where marks
 * are `p` proxy, `s` server, `c` client, `e` error, `o` outside of its parent, `m` missing, `h1` hop 1, `id7` span id 7.
 */
export function read(text: string): Trace {
  const lines = text.split("\n").filter((l) => l.trim());
  const s: Skeleton = {
    traceId: "1".repeat(32),
    start: "0",
    duration: 0,
    maybeIncomplete: false,
    spanCount: lines.length,
    errorCount: 0,
    depth: 0,
    services: [],
    names: [],
    spans: {
      id: [],
      parent: [],
      start: [],
      duration: [],
      service: [],
      name: [],
      kind: [],
      flags: [],
      hop: [],
    },
    warnings: [],
  };
  const base = /^ */.exec(lines[0]!)![0].length;
  const above: number[] = [];
  for (const [row, line] of lines.entries()) {
    const depth = (/^ */.exec(line)![0].length - base) / 2;
    const [name = "", service = "", time = "0+0", ...marks] = line.trim().split(/\s+/);
    const [start = 0, length = 0] = time.split("+").map(Number);
    above[depth] = row;
    let at = s.services.findIndex((x) => x.name === service);
    if (at < 0)
      at = s.services.push({ name: service, group: service, namespace: "ns", slot: s.services.length }) - 1;
    const has = (m: string) => marks.includes(m);
    const number = (prefix: string) =>
      marks.find((m) => m.startsWith(prefix) && m.length > prefix.length)?.slice(prefix.length);
    s.spans.id.push((number("id") ?? String(row + 1)).padStart(16, "0"));
    s.spans.parent.push(depth === 0 ? -1 : above[depth - 1]!);
    s.spans.start.push(start);
    s.spans.duration.push(length);
    s.spans.service.push(at);
    let named = s.names.indexOf(name);
    if (named < 0) named = s.names.push(name) - 1;
    s.spans.name.push(named);
    s.spans.kind.push(has("s") ? 2 : has("c") ? 3 : 1);
    s.spans.flags.push((has("e") ? 1 : 0) | (has("p") ? 2 : 0) | (has("m") ? 4 : 0) | (has("o") ? 32 : 0));
    s.spans.hop.push(Number(number("h") ?? -1));
    s.duration = Math.max(s.duration, start + length);
  }
  return traceOf(s);
}

/** Any tree with any flags, times and hop numbers, also such as no backend should send. */
export const anyTrace = fc
  .array(
    fc.record({
      up: fc.nat(30),
      flags: fc.nat(7),
      kind: fc.nat(5),
      hop: fc.integer({ min: -1, max: 4 }),
      service: fc.nat(6),
      name: fc.nat(8),
      start: fc.nat(200),
      length: fc.nat(90),
    }),
    { maxLength: 60 },
  )
  .map((spans) => {
    const lines: string[] = [];
    let depth = 0;
    for (const [i, s] of spans.entries()) {
      depth = i === 0 ? 0 : Math.max(0, depth + 1 - (s.up % (depth + 2)));
      const marks = [
        s.flags & 1 ? "e" : "",
        s.flags & 2 ? "p" : "",
        s.flags === 4 ? "m" : "",
        s.kind === 2 ? "s" : "",
        s.hop >= 0 ? `h${s.hop}` : "",
      ];
      lines.push(`${"  ".repeat(depth)}n${s.name} svc${s.service} ${s.start}+${s.length} ${marks.join(" ")}`);
    }
    return lines.length ? read(lines.join("\n")) : read("a b 0+1");
  });
