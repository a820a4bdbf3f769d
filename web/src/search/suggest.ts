import {
  attributeField,
  escapeRegExp,
  type Filter,
  formatFilter,
  guessFilter,
  intrinsics,
  kinds,
  parseFilter,
  statuses,
} from "../model/filters";
import { type Pasted, readPasted } from "../model/ids";

/** What is being typed: still a field, or already a value behind an operator. */
export type Stage =
  | { kind: "field"; text: string }
  | { kind: "value"; field: string; op: string; text: string };

/** stageOf splits what stands in the input. An opening quote of a value is not part of its text. */
export function stageOf(text: string): Stage {
  const m = /^\s*([^=!<>]*?)(!=|=~|!~|>=|<=|=|>|<)(.*)$/s.exec(text);
  if (!m) return { kind: "field", text: text.trim() };
  const field = { serviceName: "service", name: "operation" }[m[1]!] ?? m[1]!;
  return { kind: "value", field, op: m[2]!, text: m[3]!.trim().replace(/^"/, "") };
}

/** What the server is asked for suggestions; undefined needs no server. */
export type Source =
  | { kind: "keys"; prefix: string; scope: string }
  | { kind: "services" }
  | { kind: "operations"; service: string }
  | { kind: "values"; key: string; scope: string; prefix: string };

/** sourceOf tells where suggestions for a stage come from, given the filters that are set already. */
export function sourceOf(stage: Stage, filters: readonly Filter[]): Source | undefined {
  if (stage.kind === "field") {
    if (readPasted(stage.text)) return undefined;
    const scoped = /^(span|resource|event|scope|link)?\.(.*)$/.exec(stage.text);
    return { kind: "keys", prefix: scoped ? scoped[2]! : stage.text, scope: scoped?.[1] ?? "any" };
  }
  if (stage.field === "service") return { kind: "services" };
  const service = filters.find((f) => f.field === "service" && f.op === "=")?.value;
  if (stage.field === "operation") return service ? { kind: "operations", service } : undefined;
  const attribute = attributeField(stage.field);
  if (!attribute || !/^!?=$/.test(stage.op)) return undefined;
  return { kind: "values", ...attribute, prefix: stage.text };
}

/** One line below the input. */
export type Suggestion =
  /** Goes on typing: the input gets this text. */
  | { kind: "complete"; text: string; label: string; hint: "field" | "attribute"; count?: number }
  /** Adds a filter. */
  | { kind: "filter"; filter: Filter; label: string; hint?: "exists" | "name"; count?: number; slot?: number }
  | { kind: "open"; pasted: Pasted };

/** What the server answered, whichever source was asked. */
export interface Answers {
  keys?: readonly { key: string; scope: string; n: number }[];
  services?: readonly { name: string; slot: number }[];
  operations?: readonly { name: string; n: number }[];
  values?: readonly { value: string; n: number }[];
}

const most = 40;

/** suggestions are what fits the input, best first. None of them is needed: typing goes on without. */
export function suggestions(text: string, answers: Answers): Suggestion[] {
  const stage = stageOf(text);
  const pasted = readPasted(text);
  if (pasted) return [{ kind: "open", pasted }];
  return (stage.kind === "field" ? fields(stage.text, answers) : values(stage, answers)).slice(0, most);
}

function fields(typed: string, answers: Answers): Suggestion[] {
  const wanted = typed.toLowerCase();
  const out: Suggestion[] = intrinsics
    .filter((name) => name.toLowerCase().startsWith(wanted))
    .map((name) => ({
      kind: "complete",
      text: `${name}${name === "duration" || name === "traceDuration" ? ">" : "="}`,
      label: name,
      hint: "field",
    }));
  if (typed) {
    for (const s of answers.services ?? []) {
      if (s.name.toLowerCase().includes(wanted)) {
        const filter: Filter = { field: "service", op: "=", value: s.name };
        out.push({ kind: "filter", filter, label: formatFilter(filter), slot: s.slot });
      }
    }
  }
  const exact = parseFilter(`${typed}?`);
  for (const k of answers.keys ?? []) {
    const field = `${k.scope === "any" ? "" : k.scope}.${k.key}`;
    if (/[\s"=!<>?]/.test(k.key)) continue;
    out.push({ kind: "complete", text: `${field}=`, label: field, hint: "attribute", count: k.n });
  }
  if (exact.ok && attributeField(typed)) {
    out.push({ kind: "filter", filter: exact.value, label: formatFilter(exact.value), hint: "exists" });
  }
  if (typed && !typed.includes(".")) {
    const filter = guessFilter(typed);
    out.push({ kind: "filter", filter, label: formatFilter(filter), hint: "name" });
  }
  return out;
}

function values(stage: Extract<Stage, { kind: "value" }>, answers: Answers): Suggestion[] {
  const wanted = stage.text.toLowerCase();
  const add = (value: string, more: { count?: number; slot?: number } = {}): Suggestion[] => {
    const regex = stage.op.endsWith("~");
    const parsed = parseFilter(
      formatFilter({
        field: stage.field,
        op: stage.op as Filter["op"],
        value: regex ? escapeRegExp(value) : value,
      }),
    );
    return parsed.ok
      ? [{ kind: "filter", filter: parsed.value, label: formatFilter(parsed.value), ...more }]
      : [];
  };
  const fitting = (value: string) => value.toLowerCase().includes(wanted);
  switch (stage.field) {
    case "service":
      return (answers.services ?? [])
        .filter((s) => fitting(s.name))
        .flatMap((s) => add(s.name, { slot: s.slot }));
    case "operation": {
      const seen = new Set<string>();
      return (answers.operations ?? [])
        .filter((o) => fitting(o.name) && !seen.has(o.name) && seen.add(o.name))
        .flatMap((o) => add(o.name, { count: o.n }));
    }
    case "status":
      return statuses.filter(fitting).flatMap((s) => add(s));
    case "kind":
      return kinds.filter(fitting).flatMap((k) => add(k));
    case "duration":
    case "traceDuration":
      return ["10ms", "50ms", "100ms", "250ms", "500ms", "1s", "5s"]
        .filter((d) => d.startsWith(wanted))
        .flatMap((d) => add(d));
    default:
      return (answers.values ?? [])
        .filter((v) => fitting(v.value))
        .flatMap((v) => add(v.value, { count: v.n }));
  }
}
