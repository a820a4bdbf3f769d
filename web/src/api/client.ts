import type {
  Asked,
  AttributeKey,
  AttributeValue,
  Differences,
  ErrorKind,
  Heatmap,
  List,
  Operation,
  Receipts,
  SavedSearch,
  SavedSearches,
  SearchLine,
  Service,
  Skeleton,
  Span,
  Status,
  TraceQLCheck,
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

interface Reply {
  tried: string;
  response: Response;
}

async function request(method: "GET" | "POST", url: string, ask: Ask, body?: unknown): Promise<Reply> {
  const tried = `${method} ${url}`;
  try {
    const response = await fetch(url, {
      ...(method === "POST" ? { method, body: JSON.stringify(body) } : {}),
      headers: {
        Accept: "application/json",
        ...(method === "POST" ? { "Content-Type": "application/json" } : {}),
      },
      credentials: "same-origin",
      signal: ask.signal ?? null,
    });
    return { tried, response };
  } catch (cause) {
    if (isAbort(cause)) throw cause;
    throw new ApiError({ kind: "network", message: String(cause), status: 0, tried });
  }
}

/** readJSON is the answer of a reply; anything but a 2xx with JSON is an ApiError. */
async function readJSON<T>({ tried, response }: Reply, ask: Ask): Promise<T> {
  const requestId = response.headers.get("x-request-id") ?? undefined;
  let text = "";
  try {
    if (ask.onProgress && response.body) {
      let bytes = 0;
      for await (const part of textOf(response.body)) {
        text += part.text;
        bytes += part.bytes;
        ask.onProgress(bytes);
      }
    } else text = await response.text();
  } catch (cause) {
    if (isAbort(cause)) throw cause;
    throw new ApiError({
      kind: "network",
      message: String(cause),
      status: response.status,
      tried,
      requestId,
    });
  }
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
    kind: e?.kind ?? "internal",
    message: e?.message ?? response.statusText,
    hint: e?.hint,
    field: e?.field,
    status: response.status,
    tried,
    requestId,
  });
}

/** getJSON fetches one answer; anything but a 2xx with JSON is an ApiError, an abort stays an AbortError. */
export async function getJSON<T>(path: string, params?: Params, ask: Ask = {}): Promise<T> {
  return readJSON<T>(await request("GET", apiUrl(path, params), ask), ask);
}

export async function postJSON<T>(path: string, body: unknown, ask: Ask = {}): Promise<T> {
  return readJSON<T>(await request("POST", apiUrl(path), ask, body), ask);
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
  const reply = await request("GET", apiUrl(path, params), ask);
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
      rest += part.text;
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

async function* textOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<{ text: string; bytes: number }> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    yield { text: decoder.decode(value, { stream: true }), bytes: value.byteLength };
  }
  yield { text: decoder.decode(), bytes: 0 };
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
  search: (
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
    postJSON<{ version: number }>("searches", { items, ifVersion }),
  skeleton: (traceId: string, ask?: Ask) =>
    getJSON<Skeleton>(`traces/${encodeURIComponent(traceId)}`, undefined, ask),
  spans: (traceId: string, ids: string[], ask?: Ask) =>
    getJSON<List<Span>>(`traces/${encodeURIComponent(traceId)}/spans`, { ids: ids.join(",") }, ask),
  otlpUrl: (traceId: string) => apiUrl(`traces/${encodeURIComponent(traceId)}/otlp`),
};
