import type {
  Asked,
  AttributeKey,
  AttributeValue,
  Differences,
  ErrorKind,
  Found,
  Heatmap,
  Hops,
  Instant,
  List,
  Operation,
  Receipts,
  SavedSearch,
  SavedSearches,
  SearchLine,
  Service,
  Span,
  Status,
  TraceQLCheck,
  TraceSummary,
} from "./types";

/** ApiError is every way a request can fail, with what a person needs to report it. */
export class ApiError extends Error {
  readonly kind: ErrorKind;
  readonly status: number;
  readonly tried: string;
  readonly hint: string | undefined;
  readonly field: string | undefined;
  readonly requestId: string | undefined;

  constructor(o: {
    kind: ErrorKind;
    message: string;
    status: number;
    tried: string;
    hint?: string | undefined;
    field?: string | undefined;
    requestId?: string | undefined;
  }) {
    super(o.message);
    this.name = "ApiError";
    this.kind = o.kind;
    this.status = o.status;
    this.tried = o.tried;
    this.hint = o.hint;
    this.field = o.field;
    this.requestId = o.requestId;
  }
}

/** The path the app is mounted at, from the `<base href>` that the server writes, without the last slash. */
export function basePath(): string {
  return new URL(document.baseURI).pathname.replace(/\/[^/]*$/, "");
}

export function apiUrl(path: string, params?: Params): string {
  const query = params ? encode(params) : "";
  return `${basePath()}/api/spanloom/v1/${path}${query ? `?${query}` : ""}`;
}

export type Params = Record<string, string | number | boolean | string[] | undefined>;

function encode(params: Params): string {
  const out = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) {
    if (value === undefined || value === "") continue;
    if (Array.isArray(value)) for (const v of value) out.append(key, v);
    else out.append(key, String(value));
  }
  return out.toString();
}

export interface Ask {
  signal?: AbortSignal | undefined;
  /** Called with the bytes read so far. */
  onProgress?: ((bytes: number) => void) | undefined;
}

/** getJSON fetches one answer; anything but a 2xx with JSON is an ApiError, an abort stays an AbortError. */
export async function getJSON<T>(path: string, params?: Params, ask: Ask = {}): Promise<T> {
  return readJSON(await send("GET", apiUrl(path, params), undefined, ask), ask);
}

/** getBytes fetches an answer as it comes, in the pieces it comes in; its own errors are read as getJSON reads them. */
export async function getBytes(path: string, params?: Params, ask: Ask = {}): Promise<Uint8Array[]> {
  const answer = await send("GET", apiUrl(path, params), undefined, ask);
  if (!answer.response.ok) return readJSON(answer, ask);
  return readPieces(answer, ask);
}

/** postJSON sends a JSON body and reads nothing but the error there may be. */
export async function postJSON(path: string, body: unknown, ask: Ask = {}): Promise<void> {
  const answer = await send("POST", apiUrl(path), JSON.stringify(body), ask);
  if (!answer.response.ok) await readJSON(answer, ask);
}

/** postFile sends JSON as it lies in a file and reads the answer. */
export async function postFile<T>(path: string, params: Params, file: Blob, ask: Ask = {}): Promise<T> {
  return readJSON(await send("POST", apiUrl(path, params), file, ask), ask);
}

/** postForJSON sends a JSON body and reads the answer. */
export async function postForJSON<T>(path: string, body: unknown, ask: Ask = {}): Promise<T> {
  return readJSON(await send("POST", apiUrl(path), JSON.stringify(body), ask), ask);
}

/** getJSONAt is getJSON for an address of this server outside of our own API. */
export async function getJSONAt<T>(path: string, params: Params, ask: Ask = {}): Promise<T> {
  return readJSON(await send("GET", `${basePath()}/${path}?${encode(params)}`, undefined, ask), ask);
}

/** An answer whose body was not read yet, and what was asked for. */
interface Answer {
  response: Response;
  tried: string;
}

async function send(method: string, url: string, body: string | Blob | undefined, ask: Ask): Promise<Answer> {
  const tried = `${method} ${url}`;
  try {
    const response = await fetch(url, {
      method,
      headers: {
        Accept: "application/json",
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      },
      ...(body === undefined ? {} : { body }),
      credentials: "same-origin",
      signal: ask.signal ?? null,
    });
    return { response, tried };
  } catch (cause) {
    if (isAbort(cause)) throw cause;
    throw new ApiError({ kind: "network", message: String(cause), status: 0, tried });
  }
}

async function readPieces({ response, tried }: Answer, ask: Ask): Promise<Uint8Array[]> {
  try {
    if (!response.body || !ask.onProgress) return [new Uint8Array(await response.arrayBuffer())];
    const reader = response.body.getReader();
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return pieces;
      pieces.push(value);
      bytes += value.byteLength;
      ask.onProgress(bytes);
    }
  } catch (cause) {
    if (isAbort(cause)) throw cause;
    throw new ApiError({
      kind: "network",
      message: String(cause),
      status: response.status,
      tried,
      requestId: response.headers.get("x-request-id") ?? undefined,
    });
  }
}

/** joinText decodes the pieces of an answer. */
export function joinText(pieces: readonly Uint8Array[]): string {
  const decoder = new TextDecoder();
  let text = "";
  for (const p of pieces) text += decoder.decode(p, { stream: true });
  return text + decoder.decode();
}

async function readJSON<T>(answer: Answer, ask: Ask): Promise<T> {
  const { response, tried } = answer;
  const text = joinText(await readPieces(answer, ask));
  const requestId = response.headers.get("x-request-id") ?? undefined;
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    const message = text.trim().slice(0, 200) || response.statusText;
    throw new ApiError({ kind: "network", message, status: response.status, tried, requestId });
  }
  if (response.ok) return body as T;
  const e = (body as { error?: { kind?: ErrorKind; message?: string; hint?: string; field?: string } }).error;
  throw new ApiError({
    kind:
      response.status === 404 && e?.message?.startsWith("no such path")
        ? "otherVersion"
        : (e?.kind ?? "internal"),
    message: e?.message ?? response.statusText,
    hint: e?.hint,
    field: e?.field,
    status: response.status,
    tried,
    requestId,
  });
}

/**
 * getLines fetches lines of JSON and hands them on as they come, several at once where they came so. An
 * answer that breaks off before its `end` line is an ApiError, and so is an error that the last line tells.
 */
export async function getLines(
  path: string,
  params: Params,
  onLines: (lines: SearchLine[]) => void,
  ask: Ask = {},
): Promise<void> {
  const reply = await send("GET", apiUrl(path, params), undefined, ask);
  const { tried, response } = reply;
  if (!response.ok || !response.body) {
    await readJSON<unknown>(reply, ask);
    return;
  }
  const more = {
    status: response.status,
    tried,
    requestId: response.headers.get("x-request-id") ?? undefined,
  };
  let rest = "";
  let last: SearchLine | undefined;
  try {
    for await (const part of textOf(response.body)) {
      rest += part;
      const end = rest.lastIndexOf("\n");
      if (end < 0) continue;
      const lines = rest
        .slice(0, end)
        .split("\n")
        .map((line) => JSON.parse(line) as SearchLine);
      rest = rest.slice(end + 1);
      last = lines.at(-1);
      onLines(lines);
    }
  } catch (cause) {
    if (isAbort(cause)) throw cause;
    throw new ApiError({ kind: "network", message: String(cause), ...more });
  }
  if (last?.type !== "end") throw new ApiError({ kind: "network", message: "the answer broke off", ...more });
  if (last.error) throw new ApiError({ ...last.error, ...more });
}

async function* textOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    yield decoder.decode(value, { stream: true });
  }
  yield decoder.decode();
}

export function isAbort(cause: unknown): boolean {
  return cause instanceof DOMException && cause.name === "AbortError";
}

/** Window of a question: what the API takes as `start` and `end`. */
export interface Window {
  start: string;
  end?: string | undefined;
}

export const api = {
  status: (ask?: Ask) => getJSON<Status>("status", undefined, ask),
  receipts: (w: Window, ask?: Ask) => getJSON<Receipts>("receipts", { ...w }, ask),
  services: (w: Window, red: boolean, ask?: Ask) =>
    getJSON<List<Service>>("services", { ...w, ...(red ? { red: true, buckets: 30 } : {}) }, ask),
  operations: (service: string, w: Window, ask?: Ask) =>
    getJSON<List<Operation>>("operations", { service, ...w }, ask),
  keys: (p: { prefix?: string; scope?: string; service?: string; limit?: number } & Window, ask?: Ask) =>
    getJSON<List<AttributeKey>>("attributes/keys", { ...p }, ask),
  values: (
    p: { key: string; prefix?: string; scope?: string; service?: string; limit?: number } & Window,
    ask?: Ask,
  ) => getJSON<List<AttributeValue>>("attributes/values", { ...p }, ask),
  /** The page alone, without lines: for lists that need no progress. */
  search: (p: { filter: string[]; limit: number; page?: string | undefined } & Window, ask?: Ask) =>
    getJSON<List<TraceSummary>>("search", { ...p }, ask),
  searchStream: (
    p: Asked & { limit: number; page?: string | undefined } & Window,
    onLines: (lines: SearchLine[]) => void,
    ask?: Ask,
  ) => getLines("search/stream", { ...p }, onLines, ask),
  heatmap: (p: Asked & { columns: number } & Window, ask?: Ask) => getJSON<Heatmap>("heatmap", { ...p }, ask),
  differences: (
    p: Asked & { select: string[]; selectStart?: string; selectEnd?: string; fields?: number } & Window,
    ask?: Ask,
  ) => getJSON<Differences>("differences", { ...p }, ask),
  checkTraceQL: (q: string, ask?: Ask) => getJSON<TraceQLCheck>("traceql", { q }, ask),
  searches: (ask?: Ask) => getJSON<SavedSearches>("searches", undefined, ask),
  saveSearches: (items: SavedSearch[], ifVersion: number) =>
    postForJSON<{ version: number }>("searches", { items, ifVersion }),
  skeleton: (traceId: string, ask?: Ask) => getBytes(`traces/${encodeURIComponent(traceId)}`, undefined, ask),
  spans: (traceId: string, ids: string[], ask?: Ask) =>
    getJSON<List<Span>>(`traces/${encodeURIComponent(traceId)}/spans`, { ids: ids.join(",") }, ask),
  find: (traceId: string, q: string, ask?: Ask) =>
    getJSON<Found>(`traces/${encodeURIComponent(traceId)}/find`, { q }, ask),
  hops: (traceId: string, ask?: Ask) => getJSON<Hops>("hops", { traceId }, ask),
  otlp: (traceId: string, ask?: Ask) =>
    getBytes(`traces/${encodeURIComponent(traceId)}/otlp`, undefined, ask),
  keep: (traceId: string, ask?: Ask) => postJSON(`traces/${encodeURIComponent(traceId)}/keep`, {}, ask),
  /** One number or several for all spans of a window: TraceQL metrics by the mirror of Tempo's API. Seconds in, seconds out. */
  instant: (q: string, start: number, end: number, ask?: Ask) =>
    getJSONAt<Instant>("tempo/api/metrics/query", { q, start: String(start), end: String(end) }, ask),
};
