import { parseDuration } from "./duration";

/** One condition of a search. `exists` has no value. */
export interface Filter {
  field: string;
  op: Op;
  value: string;
}

export type Op = "=" | "!=" | "=~" | "!~" | ">" | ">=" | "<" | "<=" | "exists";

export const ops: readonly Exclude<Op, "exists">[] = ["!=", "=~", "!~", ">=", "<=", "=", ">", "<"];

/** Fields with a name of their own; all others are attributes and start with a scope or a dot. */
export const intrinsics = [
  "service",
  "operation",
  "status",
  "duration",
  "traceDuration",
  "kind",
  "namespace",
  "root",
] as const;
export type Intrinsic = (typeof intrinsics)[number];

const aliases: Record<string, Intrinsic> = { serviceName: "service", name: "operation" };
const scopes = ["span.", "resource.", "event.", "scope.", "link.", "."];

export const statuses = ["error", "ok", "unset"] as const;
export const kinds = ["server", "client", "internal", "producer", "consumer", "unspecified"] as const;

export type Problem =
  | "noField"
  | "unknownField"
  | "noValue"
  | "noOp"
  | "badDuration"
  | "badStatus"
  | "badKind"
  | "badRoot"
  | "badOp"
  | "openQuote";

export interface Mistake {
  problem: Problem;
  /** The text at fault, and where it stands in the line. */
  text: string;
  at: number;
}

export type Parsed<T> = { ok: true; value: T } | { ok: false; mistake: Mistake };

export function isAttribute(field: string): boolean {
  return scopes.some((s) => field.startsWith(s) && field.length > s.length);
}

/** attributeField splits "span.http.method" into its scope ("span", or "any" for a leading dot) and key. */
export function attributeField(field: string): { scope: string; key: string } | undefined {
  const scope = scopes.find((s) => field.startsWith(s) && field.length > s.length);
  if (!scope) return undefined;
  return { scope: scope === "." ? "any" : scope.slice(0, -1), key: field.slice(scope.length) };
}

/**
 * parseFilter reads one condition such as `service=productpage`, `duration>250ms` or
 * `span.http.status_code?`. A value may be quoted; inside quotes \" and \\ stand for themselves.
 */
export function parseFilter(text: string, at = 0): Parsed<Filter> {
  const fail = (problem: Problem): Parsed<Filter> => ({ ok: false, mistake: { problem, text, at } });
  const opAt = text.search(/[=!<>]/);
  if (opAt < 0) {
    if (!text.endsWith("?")) return fail("noOp");
    const field = canonicalField(text.slice(0, -1));
    if (field === undefined) return fail(text.length === 1 ? "noField" : "unknownField");
    return { ok: true, value: { field, op: "exists", value: "" } };
  }
  const op = ops.find((o) => text.startsWith(o, opAt));
  if (!op) return fail("noOp");
  const field = canonicalField(text.slice(0, opAt));
  if (field === undefined) return fail(opAt === 0 ? "noField" : "unknownField");
  const raw = text.slice(opAt + op.length);
  const value = unquote(raw);
  if (value === undefined) return fail("openQuote");
  if (raw === "") return fail("noValue");
  const filter = { field, op, value };
  const problem = check(filter);
  return problem ? fail(problem) : { ok: true, value: filter };
}

function canonicalField(text: string): string | undefined {
  if (/[\s"?]/.test(text)) return undefined;
  const field = aliases[text] ?? text;
  return (intrinsics as readonly string[]).includes(field) || isAttribute(field) ? field : undefined;
}

function check(f: Filter): Problem | undefined {
  switch (f.field) {
    case "duration":
    case "traceDuration":
      if (f.op === "=~" || f.op === "!~") return "badOp";
      return parseDuration(f.value) === undefined ? "badDuration" : undefined;
    case "status":
      if (f.op !== "=" && f.op !== "!=") return "badOp";
      return (statuses as readonly string[]).includes(f.value) ? undefined : "badStatus";
    case "kind":
      if (f.op !== "=" && f.op !== "!=") return "badOp";
      return (kinds as readonly string[]).includes(f.value) ? undefined : "badKind";
    case "root":
      if (f.op !== "=" && f.op !== "!=") return "badOp";
      return f.value === "true" || f.value === "false" ? undefined : "badRoot";
    case "service":
    case "operation":
    case "namespace":
      return /[<>]/.test(f.op) ? "badOp" : undefined;
  }
  return undefined;
}

/** parseFilters reads a line of conditions separated by white space; all must hold. */
export function parseFilters(line: string): Parsed<Filter[]> {
  const out: Filter[] = [];
  for (const token of split(line)) {
    const parsed = parseFilter(token.text, token.at);
    if (!parsed.ok) return parsed;
    out.push(parsed.value);
  }
  return { ok: true, value: out };
}

/** goodFilters are the conditions of a line that can be read; a mistake elsewhere does not hide them. */
export function goodFilters(line: string): Filter[] {
  return split(line).flatMap((token) => {
    const parsed = parseFilter(token.text, token.at);
    return parsed.ok ? [parsed.value] : [];
  });
}

function split(line: string): { text: string; at: number }[] {
  const out: { text: string; at: number }[] = [];
  let at = -1;
  let quoted = false;
  for (let i = 0; i <= line.length; i++) {
    const c = line[i];
    if (quoted && c === "\\") i++;
    else if (c === '"') {
      // A quote opens a value only right after an operator; elsewhere it is a character.
      if (quoted) quoted = false;
      else if (at >= 0 && /[=<>~]/.test(line[i - 1] ?? "")) quoted = true;
      if (at < 0) at = i;
    } else if (c === undefined || (!quoted && /\s/.test(c))) {
      if (at >= 0) out.push({ text: line.slice(at, i), at });
      at = -1;
    } else if (at < 0) at = i;
  }
  return out;
}

function unquote(raw: string): string | undefined {
  if (!raw.startsWith('"')) return raw;
  const m = /^"((?:[^"\\]|\\.)*)"$/s.exec(raw);
  return m ? m[1]!.replace(/\\(["\\])/g, "$1") : undefined;
}

/** formatFilter gives the text that parseFilter reads back to the same filter. */
export function formatFilter(f: Filter): string {
  if (f.op === "exists") return `${f.field}?`;
  return `${f.field}${f.op}${quote(f)}`;
}

function quote(f: Filter): string {
  const v = f.value;
  // A value that starts like the rest of a longer operator would change it: `=` then `~x`.
  const risky = v === "" || /[\s"]/.test(v) || /^[=~]/.test(v);
  return risky ? `"${v.replace(/(["\\])/g, "\\$1")}"` : v;
}

export function formatFilters(filters: readonly Filter[]): string {
  return filters.map(formatFilter).join(" ");
}

/** withFilter adds f; a second "=" or duration bound on the same field replaces the first. */
export function withFilter(filters: readonly Filter[], f: Filter): Filter[] {
  const side = (op: Op) => (op.startsWith(">") ? ">" : op.startsWith("<") ? "<" : op);
  const replaces = (o: Filter) =>
    o.field === f.field &&
    side(o.op) === side(f.op) &&
    (f.op === "=" || f.op.startsWith(">") || f.op.startsWith("<") || o.value === f.value);
  const at = filters.findIndex(replaces);
  if (at < 0) return [...filters, f];
  return filters.map((o, i) => (i === at ? f : o)).filter((o, i) => i === at || !replaces(o));
}

/** guessFilter makes the most useful condition of a bare word: part of an operation's name. */
export function guessFilter(text: string): Filter {
  return { field: "operation", op: "=~", value: `.*${escapeRegExp(text.trim())}.*` };
}

export function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

/**
 * apiFilter is the form for one `filter` parameter: the same grammar, but a value needs quotes only
 * where it could be read as something else, because the parameter ends it.
 */
export function apiFilter(f: Filter): string {
  if (f.op === "exists") return `${f.field}?`;
  const plain = f.value !== "" && !/^["=~]/.test(f.value);
  return plain ? `${f.field}${f.op}${f.value}` : formatFilter(f);
}
