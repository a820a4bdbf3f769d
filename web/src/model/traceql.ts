import { parseDuration } from "./duration";
import {
  attributeField,
  type Filter,
  formatFilters,
  type Parsed,
  parseFilter,
  parseFilters,
} from "./filters";

/**
 * isTraceQL tells the two forms of a query apart by how they begin: no filter starts with a brace, a
 * parenthesis or a function.
 */
export function isTraceQL(text: string): boolean {
  return /^\s*(?:[{(]|(?:by|select|coalesce|count|avg|min|max|sum)\s*\(|\/[/*])/.test(text);
}

/** What the search page is asked, from the text in its URL. */
export type Question =
  | { kind: "filters"; text: string; filters: Filter[] }
  /** `filters` is there where chips can show the query too. */
  | { kind: "traceql"; text: string; filters?: Filter[] | undefined };

/** readQuestion reads either form; the server is the judge of TraceQL, so only filters can have a mistake here. */
export function readQuestion(text: string): Parsed<Question> {
  if (isTraceQL(text)) {
    return { ok: true, value: { kind: "traceql", text: text.trim(), filters: fromTraceQL(text) } };
  }
  const parsed = parseFilters(text);
  return parsed.ok ? { ok: true, value: { kind: "filters", text, filters: parsed.value } } : parsed;
}

const words: Record<string, string> = {
  service: "resource.service.name",
  operation: "name",
  status: "status",
  kind: "kind",
  duration: "duration",
  traceDuration: "traceDuration",
};
const scopes: Record<string, string> = {
  span: "span",
  resource: "resource",
  event: "event",
  scope: "instrumentation",
  link: "link",
  any: "",
};

/** toTraceQL writes filters as one `{ … }`; undefined where one of them has no such form (namespace). */
export function toTraceQL(filters: readonly Filter[]): string | undefined {
  const parts = filters.map(condition);
  if (parts.some((p) => p === undefined)) return undefined;
  return parts.length ? `{ ${parts.join(" && ")} }` : "{}";
}

function condition(f: Filter): string | undefined {
  if (f.field === "root") {
    const is = (f.value === "true") === (f.op === "=");
    return /^!?=$/.test(f.op) ? `span:parentID ${is ? "=" : "!="} ""` : undefined;
  }
  const attribute = attributeField(f.field);
  const left = attribute ? traceqlName(attribute.scope, attribute.key) : words[f.field];
  if (left === undefined) return undefined;
  if (f.op === "exists") return `${left} != nil`;
  if (f.field === "duration" || f.field === "traceDuration") {
    const value = duration(f.value);
    return value === undefined ? undefined : `${left} ${f.op} ${value}`;
  }
  if (f.field === "status" || f.field === "kind") return `${left} ${f.op} ${f.value}`;
  const text = `${left} ${f.op} ${quoted(f.value)}`;
  // Chips compare the text of a value, TraceQL tells numbers from text: what reads as a number is asked as both.
  if (attribute && isScalar(f.value)) {
    if (f.op === "=" || f.op === "!=") return `(${left} ${f.op} ${f.value} || ${text})`;
    if (/^[<>]/.test(f.op)) return `${left} ${f.op} ${f.value}`;
  }
  return text;
}

function isScalar(value: string): boolean {
  if (value === "true" || value === "false") return true;
  return /^-?(?:0|[1-9]\d{0,17})(?:\.\d+)?$/.test(value);
}

/** TraceQL knows no days in durations with a fraction and no micro sign of Greek keyboards. */
function duration(text: string): string | undefined {
  const ns = parseDuration(text);
  if (ns === undefined) return undefined;
  if (!/[dμ]/.test(text)) return text;
  return ns % 3600e9 === 0 ? `${ns / 3600e9}h` : `${ns}ns`;
}

/** The name of an attribute as TraceQL writes it; quotes stand around what would end the name. */
export function traceqlName(scope: string, key: string): string {
  const plain = /^[^\s{}()=~!<>&|^,"\\]+$/.test(key);
  return `${scopes[scope] ?? ""}.${plain ? key : `"${key.replace(/(["\\])/g, "\\$1")}"`}`;
}

export function quoted(value: string): string {
  return JSON.stringify(value).replace(
    /[\u007f\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

interface Token {
  kind: "name" | "string" | "op" | "number";
  text: string;
  /** Of strings: what stands inside. */
  value?: string;
}

/**
 * fromTraceQL reads a query that chips can show: one `{ … }` of conditions joined by &&, each an attribute
 * or intrinsic against one value. Undefined for every other query.
 */
export function fromTraceQL(text: string): Filter[] | undefined {
  const tokens = scan(text.trim());
  if (tokens?.[0]?.text !== "{" || tokens.at(-1)?.text !== "}") return undefined;
  const inner = tokens.slice(1, -1);
  const out: Filter[] = [];
  let at = 0;
  while (at < inner.length) {
    if (out.length > 0 && inner[at++]?.text !== "&&") return undefined;
    const read = inner[at]?.text === "(" ? both(inner, at) : comparison(inner, at);
    if (!read) return undefined;
    out.push(read.filter);
    at += read.tokens;
  }
  // A chip that would not be read back is no chip.
  const again = parseFilters(formatFilters(out));
  return again.ok && again.value.length === out.length ? out : undefined;
}

type Read = { filter: Filter; tokens: number; number: boolean };

/** `(x = 200 || x = "200")`, which toTraceQL writes. */
function both(tokens: Token[], at: number): Read | undefined {
  const a = comparison(tokens, at + 1);
  const b = comparison(tokens, at + 5);
  if (!a || !b || tokens[at + 4]?.text !== "||" || tokens[at + 8]?.text !== ")") return undefined;
  const same =
    a.filter.field === b.filter.field && a.filter.op === b.filter.op && a.filter.value === b.filter.value;
  if (!same || !a.number || b.number || !/^!?=$/.test(a.filter.op)) return undefined;
  return { filter: a.filter, tokens: 9, number: false };
}

function comparison(tokens: Token[], at: number): Read | undefined {
  const [left, op, right] = [tokens[at], tokens[at + 1], tokens[at + 2]];
  if (left?.kind !== "name" || op?.kind !== "op" || !right || !/^(!?[=~]~?|[<>]=?)$/.test(op.text))
    return undefined;
  if (right.kind === "op") return undefined;
  const value = right.value ?? right.text;
  const read = (field: string, o: string, v: string): Read | undefined => {
    const filter: Filter = { field, op: o as Filter["op"], value: v };
    return { filter, tokens: 3, number: right.kind !== "string" };
  };
  if (left.text === "span:parentID") {
    if (right.value !== "" || !/^!?=$/.test(op.text)) return undefined;
    return read("root", "=", op.text === "=" ? "true" : "false");
  }
  const name = left.text.replace(/^(?:span|trace):/, (m) => (m === "span:" ? "" : "trace."));
  const intrinsic: Record<string, string> = {
    "resource.service.name": "service",
    name: "operation",
    status: "status",
    kind: "kind",
    duration: "duration",
    traceDuration: "traceDuration",
    "trace.duration": "traceDuration",
  };
  const word = intrinsic[name];
  if (word) {
    const wantsText = word === "service" || word === "operation";
    if (wantsText !== (right.kind === "string") || right.text === "nil") return undefined;
    if (/uration$/.test(word) && !(right.kind === "number" && parseDuration(value))) return undefined;
    const filter = { field: word, op: op.text as Filter["op"], value };
    return parseFilter(formatFilters([filter])).ok ? read(word, op.text, value) : undefined;
  }
  const attribute = attributeName(left.text);
  if (!attribute) return undefined;
  if (right.text === "nil" && right.kind === "name") {
    return op.text === "!=" ? read(attribute, "exists", "") : undefined;
  }
  if (right.kind === "name" && value !== "true" && value !== "false") return undefined;
  if (right.kind === "number" && !isScalar(value)) return undefined;
  return read(attribute, op.text, value);
}

function attributeName(text: string): string | undefined {
  const m = /^(span|resource|event|link|instrumentation|)\.(.+)$/s.exec(text);
  if (!m) return undefined;
  const scope = m[1] === "instrumentation" ? "scope" : m[1];
  const field = `${scope}.${m[2]}`;
  return /[\s"=!<>?]/.test(m[2]!) ? undefined : field;
}

const operators = ["&&", "||", "=~", "!~", "!=", "<=", ">=", "=", "<", ">", "{", "}", "(", ")"];

/** Only what chips can show is scanned; anything else, comments too, gives undefined. */
function scan(text: string): Token[] | undefined {
  const out: Token[] = [];
  let at = 0;
  while (at < text.length) {
    const rest = text.slice(at);
    const blank = /^\s+/.exec(rest);
    if (blank) {
      at += blank[0].length;
      continue;
    }
    const string = /^(?:"(?:[^"\\\n]|\\.)*"|`[^`]*`)/.exec(rest);
    if (string) {
      const value = unquote(string[0]);
      if (value === undefined) return undefined;
      out.push({ kind: "string", text: string[0], value });
      at += string[0].length;
      continue;
    }
    const op = operators.find((o) => rest.startsWith(o));
    if (op) {
      out.push({ kind: "op", text: op });
      at += op.length;
      continue;
    }
    const attribute = /^(?:span|resource|event|link|instrumentation)?\.[^\s{}()=~!<>&|^,"]+/.exec(rest);
    const word = attribute ?? /^-?[\w:.µ]+/.exec(rest);
    if (!word) return undefined;
    const number = !attribute && /^-?[\d.]/.test(word[0]);
    out.push({ kind: number ? "number" : "name", text: word[0] });
    at += word[0].length;
    // 5-3 and a+b are arithmetic.
    if (/^[-+*/%^]/.test(text.slice(at))) return undefined;
  }
  return out;
}

/** The value of a string in TraceQL; undefined for escapes that JSON does not know. */
function unquote(text: string): string | undefined {
  if (text.startsWith("`")) return text.slice(1, -1);
  try {
    return JSON.parse(text) as string;
  } catch {
    return undefined;
  }
}

/**
 * narrowed adds conditions to a query: chips to chips, and to TraceQL of one `{ … }` inside of its
 * braces. Undefined where the query is neither.
 */
export function narrowed(question: Question, more: readonly Filter[]): string | undefined {
  const filters = question.filters;
  if (filters) return formatFilters(more.reduce(replace, filters));
  const added = toTraceQL(more);
  const inner = insideBraces(question.text);
  if (added === undefined || inner === undefined) return undefined;
  if (!inner.trim()) return added;
  // A comment to the end of the line must not swallow the parenthesis.
  return `{ (${inner.trim()}${inner.includes("//") ? "\n" : ""}) && ${added.slice(2, -2)} }`;
}

/** What stands between the braces of a text that is one `{ … }` and nothing else. */
function insideBraces(text: string): string | undefined {
  const skipped = /"(?:[^"\\]|\\.)*"|`[^`]*`|\/\/[^\n]*|\/\*[\s\S]*?\*\//g;
  const bare = text.replace(skipped, (m) => " ".repeat(m.length));
  return /^\{[^{}]*\}$/.test(bare) ? text.slice(1, -1) : undefined;
}

function replace(filters: Filter[], f: Filter): Filter[] {
  const side = (op: string) => (op.startsWith(">") ? ">" : op.startsWith("<") ? "<" : op);
  return [...filters.filter((o) => o.field !== f.field || side(o.op) !== side(f.op)), f];
}
