import { parseDuration } from "./duration";

/**
 * A condition of the map's find and hide chips: a fixed field, so that no second query language comes about. Its text form is
 * what the URL holds: `errors>5%`, `p95>200ms`, `rate<0.1`, `ns=shop`, `kind=database`, `mtls=off`, `name~cart`.
 */
export type Condition =
  | { field: "errors" | "p95" | "rate"; op: ">" | "<"; value: number }
  | { field: "ns"; op: "="; value: string }
  | { field: "name"; op: "~"; value: string }
  | { field: "kind"; op: "="; value: KindWord }
  | { field: "mtls"; op: "="; value: MtlsWord };

export const fields = ["errors", "p95", "rate", "ns", "kind", "mtls", "name"] as const;
export type Field = (typeof fields)[number];

export const kindWords = [
  "service",
  "proxy",
  "gateway",
  "waypoint",
  "external",
  "database",
  "broker",
  "passthrough",
  "blackhole",
  "client",
  "unknown",
  "other",
] as const;
export type KindWord = (typeof kindWords)[number];

/** Whether a call between workloads is encrypted. */
export const mtlsWords = ["on", "off", "unknown"] as const;
export type MtlsWord = (typeof mtlsWords)[number];

/** parseCondition reads one condition; undefined for what is none. */
export function parseCondition(text: string): Condition | undefined {
  const m = /^(errors|p95|rate|ns|kind|mtls|name)([=<>~])([\s\S]+)$/.exec(text);
  if (!m) return undefined;
  const [, field, op, value] = m as unknown as [string, Field, string, string];
  switch (field) {
    case "errors":
    case "p95":
    case "rate": {
      if (op !== ">" && op !== "<") return undefined;
      const n = amount(field, value);
      return n === undefined ? undefined : { field, op, value: n };
    }
    case "ns":
      return op === "=" ? { field, op, value } : undefined;
    case "name":
      return op === "~" ? { field, op, value } : undefined;
    case "kind":
      return op === "=" && (kindWords as readonly string[]).includes(value)
        ? { field, op, value: value as KindWord }
        : undefined;
    case "mtls":
      return op === "=" && (mtlsWords as readonly string[]).includes(value)
        ? { field, op, value: value as MtlsWord }
        : undefined;
  }
}

/** amount reads a number as a person types it: `5%` or `5` for errors (0.05), `200ms`, calls per second. */
export function amount(field: "errors" | "p95" | "rate", text: string): number | undefined {
  const plain = text.trim();
  if (field === "p95") return parseDuration(plain);
  const m = /^(\d+(?:\.\d+)?(?:e-?\d+)?)\s?(%?)$/.exec(plain);
  if (!m || (field === "rate" && m[2])) return undefined;
  const n = Number(m[1]);
  if (!Number.isFinite(n)) return undefined;
  return field === "errors" ? Number((n / 100).toPrecision(12)) : n;
}

export function formatCondition(c: Condition): string {
  return `${c.field}${c.op}${amountText(c)}`;
}

/** The value of a condition as text that parses to it. */
export function amountText(c: Condition): string {
  switch (c.field) {
    case "errors":
      return `${decimals(c.value * 100)}%`;
    case "p95":
      return c.value % 1e9 === 0 && c.value > 0
        ? `${c.value / 1e9}s`
        : c.value % 1e6 === 0
          ? `${c.value / 1e6}ms`
          : `${c.value}ns`;
    case "rate":
      return String(c.value);
    default:
      return c.value.toWellFormed();
  }
}

/** 7 % is 0.07, and 0.07 × 100 is 7.000000000000001: twelve digits are what a person can have meant. */
function decimals(n: number): string {
  return String(Number(n.toPrecision(12)));
}

/** withCondition adds one; a second bound of the same side of a number, or a second name, replaces the first. */
export function withCondition(list: readonly Condition[], c: Condition): Condition[] {
  const text = formatCondition(c);
  const replaced = (o: Condition) =>
    formatCondition(o) === text ||
    (o.field === c.field && o.op === c.op && (c.op === "<" || c.op === ">" || c.field === "name"));
  return [...list.filter((o) => !replaced(o)), c];
}
