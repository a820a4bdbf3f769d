import type { Attribute, Hops, KindName, Skeleton, Span, SpanEvent, SpanLink, ValueType } from "../api/types";
import { kindNames } from "./trace";

/**
 * A trace as a file: its skeleton and its calls as the API gave them, and its spans as OTLP JSON. The UI opens it again
 * without a server; other programs read what stands under `otlp`.
 */
export interface Portable {
  format: "spanloom-trace";
  version: 1;
  /** When it was saved, ISO 8601. */
  savedAt: string;
  skeleton: Skeleton;
  hops?: Hops;
  otlp: Traces;
}

export const maxFileBytes = 256 << 20;
export const maxSpans = 1_000_000;

export type FileProblem =
  | "tooLarge"
  | "notJson"
  | "notTrace"
  | "newer"
  | "column"
  | "empty"
  | "tooMany"
  | "span";

export class FileError extends Error {
  readonly problem: FileProblem;
  /** The place in the file. */
  readonly at: string;
  constructor(problem: FileProblem, at = "") {
    super(`${problem} ${at}`);
    this.name = "FileError";
    this.problem = problem;
    this.at = at;
  }
}

/** What of OTLP JSON is read; everything may be missing or of another type. */
interface Traces {
  resourceSpans?: unknown;
}
type Json = Record<string, unknown>;

/** What an opened file gives: the skeleton, the calls if it has them, and its spans by id. */
export interface Opened {
  skeleton: Skeleton;
  hops: Hops | undefined;
  otlp: Traces;
  spans(ids: readonly string[]): Span[];
}

/** formatPortable joins what the API gave, as text: the parts are not parsed only to be written again. */
export function formatPortable(
  savedAt: string,
  skeleton: string,
  hops: string | undefined,
  otlp: string,
): string {
  return `{"format":"spanloom-trace","version":1,"savedAt":${JSON.stringify(savedAt)},\n"skeleton":${skeleton},\n${hops ? `"hops":${hops},\n` : ""}"otlp":${otlp}}\n`;
}

/** readTraceFile reads a saved trace or plain OTLP JSON; throws FileError with the place of what is wrong. */
export function readTraceFile(text: string): Opened {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (e) {
    throw new FileError("notJson", e instanceof Error ? e.message.slice(0, 200) : "");
  }
  if (!isObject(value)) throw new FileError("notTrace");
  if (value["format"] === "spanloom-trace") {
    if (value["version"] !== 1)
      throw new FileError("newer", `version ${String(value["version"]).slice(0, 20)}`);
    const otlp = isObject(value["otlp"]) ? value["otlp"] : {};
    const skeleton = checkSkeleton(value["skeleton"]);
    const sent = readOtlp(otlp);
    return {
      skeleton,
      hops: checkHops(value["hops"], skeleton.spans.id.length),
      otlp,
      spans: spansBy(skeleton, sent),
    };
  }
  if (Array.isArray(value["resourceSpans"]) || Array.isArray(value["batches"])) {
    // Tempo writes `batches` for what OTLP calls `resourceSpans`.
    const otlp = { resourceSpans: value["resourceSpans"] ?? value["batches"] };
    const sent = readOtlp(otlp);
    const skeleton = assemble(sent);
    return { skeleton, hops: undefined, otlp, spans: spansBy(skeleton, sent) };
  }
  throw new FileError("notTrace");
}

function isObject(v: unknown): v is Json {
  return typeof v === "object" && v !== null && !Array.isArray(v);
}

const text = (v: unknown): string => (typeof v === "string" ? v.toWellFormed() : "");
const hex = (v: unknown, digits: number): string => {
  const id = text(v).toLowerCase();
  return id.length <= digits && /^[0-9a-f]+$/.test(id) ? id.padStart(digits, "0") : "";
};
const whole = (v: unknown): boolean => typeof v === "number" && Number.isSafeInteger(v);
const instant = (v: unknown): string => {
  if (typeof v === "string" && /^-?\d{1,20}$/.test(v)) return v;
  return typeof v === "number" && Number.isFinite(v) ? BigInt(Math.trunc(v)).toString() : "0";
};

/** checkSkeleton lets through only what the rest of the page can rely on: equal columns, indexes in range, finite times. */
export function checkSkeleton(v: unknown): Skeleton {
  if (!isObject(v) || !isObject(v["spans"])) throw new FileError("column", "skeleton");
  const columns = v["spans"];
  const ids = columns["id"];
  if (!Array.isArray(ids)) throw new FileError("column", "skeleton.spans.id");
  const n = ids.length;
  if (n === 0) throw new FileError("empty");
  if (n > maxSpans) throw new FileError("tooMany", String(n));
  const services = list(v["services"], "skeleton.services").map((s) => {
    const o = isObject(s) ? s : {};
    return {
      name: text(o["name"]),
      group: text(o["group"]),
      namespace: text(o["namespace"]),
      slot: whole(o["slot"]) ? (o["slot"] as number) : 0,
    };
  });
  const names = list(v["names"], "skeleton.names").map(text);
  const column = (name: string, fits: (x: number, row: number) => boolean): number[] => {
    const values = list(columns[name], `skeleton.spans.${name}`);
    if (values.length !== n) throw new FileError("column", `skeleton.spans.${name}`);
    for (const [row, x] of values.entries()) {
      if (!whole(x) || !fits(x as number, row))
        throw new FileError("column", `skeleton.spans.${name}[${row}]`);
    }
    return values as number[];
  };
  for (const [row, id] of ids.entries()) {
    if (typeof id !== "string" || !/^[0-9a-f]{16}$/.test(id))
      throw new FileError("column", `skeleton.spans.id[${row}]`);
  }
  const positive = (x: number) => x >= 0;
  const spans = {
    id: ids as string[],
    parent: column("parent", (x, row) => x >= -1 && x < row),
    start: column("start", positive),
    duration: column("duration", positive),
    service: column("service", (x) => x >= 0 && x < services.length),
    name: column("name", (x) => x >= 0 && x < names.length),
    kind: column("kind", (x) => x >= 0 && x <= 5),
    flags: column("flags", (x) => x >= 0 && x < 65536),
    hop: column("hop", (x) => x >= -1),
  };
  return {
    traceId: hex(v["traceId"], 32) || "0".repeat(32),
    start: instant(v["start"]),
    duration:
      whole(v["duration"]) && (v["duration"] as number) >= 0 ? (v["duration"] as number) : lastEnd(spans),
    maybeIncomplete: false,
    complete: v["complete"] !== false,
    ...(typeof v["reason"] === "string" ? { reason: text(v["reason"]) } : {}),
    spanCount: whole(v["spanCount"]) ? (v["spanCount"] as number) : n,
    errorCount: spans.flags.reduce((sum, f) => sum + (f & 1), 0),
    depth: whole(v["depth"]) ? (v["depth"] as number) : 0,
    services,
    names,
    spans,
    warnings: (Array.isArray(v["warnings"]) ? v["warnings"] : [])
      .filter(isObject)
      .slice(0, 50)
      .map((w) => ({
        kind: text(w["kind"]) as Skeleton["warnings"][number]["kind"],
        rows: (Array.isArray(w["rows"]) ? w["rows"] : []).filter(
          (r): r is number => whole(r) && (r as number) >= 0 && (r as number) < n,
        ),
        ...(whole(w["count"]) ? { count: w["count"] as number } : {}),
        message: text(w["message"]),
      })),
  };
}

function list(v: unknown, at: string): unknown[] {
  if (!Array.isArray(v)) throw new FileError("column", at);
  return v;
}

function lastEnd(spans: { start: number[]; duration: number[] }): number {
  return spans.start.reduce((most, s, r) => Math.max(most, s + spans.duration[r]!), 0);
}

/** Calls that are not what they should be are left out: the other views need none of them. */
function checkHops(v: unknown, n: number): Hops | undefined {
  if (!isObject(v) || !Array.isArray(v["items"])) return undefined;
  const row = (r: unknown) =>
    isObject(r) && whole(r["row"]) && (r["row"] as number) >= 0 && (r["row"] as number) < n;
  const number = (x: unknown) => typeof x === "number" && Number.isFinite(x);
  const optional = (o: Json, ...keys: string[]) =>
    keys.every((k) => o[k] === undefined || typeof o[k] === "string");
  const end = (e: unknown) =>
    isObject(e) && typeof e["name"] === "string" && optional(e, "service", "version", "pod", "namespace");
  const good = v["items"].filter(
    (h) =>
      isObject(h) &&
      end(h["from"]) &&
      end(h["to"]) &&
      number(h["duration"]) &&
      optional(h, "protocol", "method", "path", "code", "upstream") &&
      (h["cluster"] === undefined || isObject(h["cluster"])) &&
      ["unknown", "on", "off"].includes(text(h["mtls"])) &&
      Array.isArray(h["rows"]) &&
      h["rows"].every(
        (r) => row(r) && ["caller", "caller_proxy", "callee_proxy", "callee"].includes(text(r["stage"])),
      ) &&
      Array.isArray(h["parts"]) &&
      h["parts"].every((p) => isObject(p) && typeof p["name"] === "string" && number(p["duration"])) &&
      Array.isArray(h["attempts"]) &&
      h["attempts"].every((a) => row(a) && number(a["duration"]) && optional(a, "flag", "code")) &&
      Array.isArray(h["flags"]) &&
      h["flags"].every((f) => row(f) && typeof f["flag"] === "string" && optional(f, "meaning")) &&
      Array.isArray(h["missing"]) &&
      h["missing"].every((m) => m === "caller" || m === "callee"),
  );
  const clocks = (Array.isArray(v["clocks"]) ? v["clocks"] : []).filter(
    (c) => isObject(c) && typeof c["name"] === "string" && whole(c["shift"]) && whole(c["pairs"]),
  );
  const allClocks = Array.isArray(v["clocks"]) && clocks.length === v["clocks"].length;
  const clockOf = Array.isArray(v["clockOf"]) && v["clockOf"].length === n && allClocks ? v["clockOf"] : [];
  const fits = clockOf.every((c) => whole(c) && c >= -1 && c < clocks.length);
  return {
    traceId: "",
    maybeIncomplete: false,
    items: good as Hops["items"],
    clocks: fits ? (clocks as Hops["clocks"]) : [],
    clockOf: fits ? (clockOf as number[]) : [],
    complete: v["complete"] !== false && good.length === v["items"].length,
  };
}

/** A span as it was sent, with what it belongs to. */
interface Sent {
  span: Json;
  id: string;
  resource: Attribute[];
  scope: Json;
  start: string;
  duration: number;
}

/** readOtlp lists the spans of OTLP JSON. A span without a usable id is an error: the tree would be wrong. */
function readOtlp(otlp: Traces): Sent[] {
  const out: Sent[] = [];
  const each = (v: unknown): Json[] => (Array.isArray(v) ? v.filter(isObject) : []);
  for (const [i, rs] of each(otlp.resourceSpans).entries()) {
    const resource = attributesOf(isObject(rs["resource"]) ? rs["resource"]["attributes"] : undefined);
    // Older writers say instrumentationLibrarySpans.
    for (const ss of each(rs["scopeSpans"] ?? rs["instrumentationLibrarySpans"])) {
      const scope = isObject(ss["scope"]) ? ss["scope"] : {};
      for (const span of each(ss["spans"])) {
        const id = idOf(span["spanId"], 16);
        if (!id)
          throw new FileError("span", `resourceSpans[${i}]: spanId ${text(span["spanId"]).slice(0, 40)}`);
        const start = instant(span["startTimeUnixNano"]);
        const end = instant(span["endTimeUnixNano"]);
        const length = BigInt(end) - BigInt(start);
        out.push({
          span,
          id,
          resource,
          scope,
          start,
          duration: length > 0n && length < 1n << 53n ? Number(length) : 0,
        });
        if (out.length > maxSpans) throw new FileError("tooMany");
      }
    }
  }
  return out;
}

/** An id as hex digits, or in base64 as protobuf's own JSON writes bytes. */
function idOf(v: unknown, digits: number): string {
  const plain = hex(v, digits);
  if (plain && !/^0+$/.test(plain)) return plain;
  const t = text(v);
  if (t.length !== (digits === 16 ? 12 : 24) || !/^[A-Za-z0-9+/]+=*$/.test(t)) return "";
  const bytes = atob(t);
  if (bytes.length !== digits / 2) return "";
  return [...bytes].map((c) => c.charCodeAt(0).toString(16).padStart(2, "0")).join("");
}

/** assemble makes the skeleton of plain OTLP: the tree by parent ids, siblings by start; circles are cut at their first span. */
function assemble(sent: readonly Sent[]): Skeleton {
  if (sent.length === 0) throw new FileError("empty");
  const traceId = idOf(sent[0]!.span["traceId"], 32);
  const byId = new Map<string, number>();
  for (const [i, s] of sent.entries()) if (!byId.has(s.id)) byId.set(s.id, i);
  const first = sent.reduce(
    (least, s) => (BigInt(s.start) < least ? BigInt(s.start) : least),
    BigInt(sent[0]!.start),
  );
  const offset = sent.map((s) => {
    const at = BigInt(s.start) - first;
    return at < 1n << 53n ? Number(at) : Number.MAX_SAFE_INTEGER;
  });
  const children: number[][] = sent.map(() => []);
  const roots: number[] = [];
  for (const [i, s] of sent.entries()) {
    const parent = byId.get(idOf(s.span["parentSpanId"], 16));
    if (parent === undefined || parent === i) roots.push(i);
    else children[parent]!.push(i);
  }
  const byStart = (a: number, b: number) => offset[a]! - offset[b]! || a - b;
  const rowOf = new Int32Array(sent.length).fill(-1);
  const order: number[] = [];
  const parents: number[] = [];
  let cycles = 0;
  let depth = 0;
  const walk = (from: number[]) => {
    const stack: [index: number, parent: number, level: number][] = from
      .sort(byStart)
      .reverse()
      .map((i) => [i, -1, 1]);
    while (stack.length) {
      const [i, parent, level] = stack.pop()!;
      if (rowOf[i]! >= 0) continue;
      rowOf[i] = order.length;
      order.push(i);
      parents.push(parent);
      depth = Math.max(depth, level);
      for (const c of children[i]!.sort(byStart).reverse()) stack.push([c, rowOf[i]!, level + 1]);
    }
  };
  walk(roots);
  // What no root leads to stands in a circle.
  for (let i = 0; i < sent.length; i++) {
    if (rowOf[i]! >= 0) continue;
    cycles++;
    walk([i]);
  }
  const services: Skeleton["services"] = [];
  const serviceAt = new Map<string, number>();
  const names: string[] = [];
  const nameAt = new Map<string, number>();
  const spans: Skeleton["spans"] = {
    id: [],
    parent: parents,
    start: [],
    duration: [],
    service: [],
    name: [],
    kind: [],
    flags: [],
    hop: [],
  };
  for (const i of order) {
    const s = sent[i]!;
    const resource = (key: string) => {
      const a = s.resource.find((x) => x.key === key);
      return typeof a?.value === "string" ? a.value : "";
    };
    const service = resource("service.name") || "unknown";
    let at = serviceAt.get(service);
    if (at === undefined) {
      at = services.length;
      serviceAt.set(service, at);
      services.push({
        name: service,
        group: service,
        namespace: resource("k8s.namespace.name") || resource("service.namespace"),
        slot: slotOf(service),
      });
    }
    const name = text(s.span["name"]);
    let named = nameAt.get(name);
    if (named === undefined) {
      named = names.length;
      nameAt.set(name, named);
      names.push(name);
    }
    spans.id.push(s.id);
    spans.start.push(offset[i]!);
    spans.duration.push(s.duration);
    spans.service.push(at);
    spans.name.push(named);
    spans.kind.push(kindOf(s.span["kind"]));
    spans.flags.push(statusOf(s.span) === "error" ? 1 : 0);
    spans.hop.push(-1);
  }
  return {
    traceId: traceId || "0".repeat(32),
    start: first.toString(),
    duration: lastEnd(spans),
    maybeIncomplete: false,
    spanCount: sent.length,
    errorCount: spans.flags.reduce((sum, f) => sum + f, 0),
    depth,
    services,
    names,
    spans,
    warnings: cycles > 0 ? [{ kind: "cycle", rows: [], count: cycles, message: "" }] : [],
  };
}

/** A colour by the name alone (FNV-1a): the server, which gives colours out, knows nothing of a file. */
function slotOf(name: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193);
  return (h >>> 0) % 20;
}

/** OTLP JSON says a kind as a number or as SPAN_KIND_SERVER. */
function kindOf(v: unknown): number {
  if (whole(v) && (v as number) >= 0 && (v as number) <= 5) return v as number;
  const at = kindNames.indexOf(text(v).replace("SPAN_KIND_", "").toLowerCase() as KindName);
  return Math.max(0, at);
}

function statusOf(span: Json): "unset" | "ok" | "error" {
  const code = isObject(span["status"]) ? span["status"]["code"] : undefined;
  if (code === 2 || code === "STATUS_CODE_ERROR") return "error";
  return code === 1 || code === "STATUS_CODE_OK" ? "ok" : "unset";
}

/** spansBy finds spans by id; where several rows have one id, each row gets the span of its kind, else the next. */
function spansBy(skeleton: Skeleton, sent: readonly Sent[]): (ids: readonly string[]) => Span[] {
  const byId = new Map<string, Sent[]>();
  for (const s of sent) {
    const found = byId.get(s.id);
    if (found) found.push(s);
    else byId.set(s.id, [s]);
  }
  const { id, kind, service } = skeleton.spans;
  return (ids) => {
    const wanted = new Set(ids);
    const left = new Map<string, Sent[]>();
    const out: Span[] = [];
    for (let row = 0; row < id.length; row++) {
      if (!wanted.has(id[row]!)) continue;
      let of = left.get(id[row]!);
      if (!of) {
        of = [...(byId.get(id[row]!) ?? [])];
        left.set(id[row]!, of);
      }
      const at = Math.max(
        0,
        of.findIndex((s) => kindOf(s.span["kind"]) === kind[row]),
      );
      const [s] = of.splice(at, 1);
      if (s) out.push(spanOf(s, row, skeleton.services[service[row]!]!));
    }
    return out;
  };
}

function spanOf(s: Sent, row: number, service: Skeleton["services"][number]): Span {
  const { span } = s;
  const status = isObject(span["status"]) ? span["status"] : {};
  const parent = idOf(span["parentSpanId"], 16);
  const objects = (v: unknown) => (Array.isArray(v) ? v.filter(isObject) : []);
  const count = (v: unknown) => (whole(v) && (v as number) > 0 ? (v as number) : undefined);
  return {
    row,
    spanId: s.id,
    ...(parent ? { parentSpanId: parent } : {}),
    name: text(span["name"]),
    kind: kindNames[kindOf(span["kind"])]!,
    start: s.start,
    duration: s.duration,
    status: statusOf(span),
    ...(status["message"] ? { statusMessage: text(status["message"]) } : {}),
    service: service.name,
    group: service.group,
    namespace: service.namespace,
    ...(span["traceState"] ? { traceState: text(span["traceState"]) } : {}),
    scope: {
      name: text(s.scope["name"]),
      version: text(s.scope["version"]),
      attributes: attributesOf(s.scope["attributes"]),
    },
    attributes: attributesOf(span["attributes"]),
    resource: s.resource,
    events: objects(span["events"]).map(
      (e): SpanEvent => ({
        time: instant(e["timeUnixNano"]),
        name: text(e["name"]),
        attributes: attributesOf(e["attributes"]),
      }),
    ),
    links: objects(span["links"]).map(
      (l): SpanLink => ({
        traceId: idOf(l["traceId"], 32),
        spanId: idOf(l["spanId"], 16),
        attributes: attributesOf(l["attributes"]),
      }),
    ),
    ...given("droppedAttributes", count(span["droppedAttributesCount"])),
    ...given("droppedEvents", count(span["droppedEventsCount"])),
    ...given("droppedLinks", count(span["droppedLinksCount"])),
  };
}

function given<K extends string>(key: K, value: number | undefined): Partial<Record<K, number>> {
  return value === undefined ? {} : ({ [key]: value } as Record<K, number>);
}

function attributesOf(v: unknown): Attribute[] {
  if (!Array.isArray(v)) return [];
  return v.filter(isObject).map((a) => ({ key: text(a["key"]), ...readValue(a["value"]) }));
}

function readValue(v: unknown): { type: ValueType; value: unknown } {
  if (!isObject(v)) return { type: "null", value: null };
  if (typeof v["stringValue"] === "string") return { type: "string", value: text(v["stringValue"]) };
  if (typeof v["boolValue"] === "boolean") return { type: "bool", value: v["boolValue"] };
  if (v["intValue"] !== undefined) return { type: "int", value: instant(v["intValue"]) };
  if (v["doubleValue"] !== undefined) return { type: "double", value: v["doubleValue"] };
  if (typeof v["bytesValue"] === "string") return { type: "bytes", value: v["bytesValue"] };
  if (isObject(v["arrayValue"])) return { type: "array", value: plain(v) };
  if (isObject(v["kvlistValue"])) return { type: "kvlist", value: plain(v) };
  return { type: "null", value: null };
}

/** How deep lists within lists are followed. */
const deepest = 32;

function plain(v: unknown, depth = 0): unknown {
  if (!isObject(v) || depth > deepest) return null;
  const inner = (x: unknown) => (isObject(x) && Array.isArray(x["values"]) ? x["values"] : []);
  if (isObject(v["arrayValue"])) return inner(v["arrayValue"]).map((x) => plain(x, depth + 1));
  if (isObject(v["kvlistValue"])) {
    return Object.fromEntries(
      inner(v["kvlistValue"])
        .filter(isObject)
        .map((x) => [text(x["key"]), plain(x["value"], depth + 1)]),
    );
  }
  return readValue(v).value;
}
