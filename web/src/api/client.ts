import type {
  AttributeKey,
  AttributeValue,
  ErrorKind,
  List,
  Operation,
  Receipts,
  Service,
  Skeleton,
  Span,
  Status,
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
  const url = apiUrl(path, params);
  const tried = `GET ${url}`;
  let response: Response;
  try {
    response = await fetch(url, {
      headers: { Accept: "application/json" },
      credentials: "same-origin",
      signal: ask.signal ?? null,
    });
  } catch (cause) {
    if (isAbort(cause)) throw cause;
    throw new ApiError({ kind: "network", message: String(cause), status: 0, tried });
  }
  const requestId = response.headers.get("x-request-id") ?? undefined;
  let text: string;
  try {
    text =
      ask.onProgress && response.body ? await readText(response.body, ask.onProgress) : await response.text();
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

async function readText(
  stream: ReadableStream<Uint8Array>,
  onProgress: (bytes: number) => void,
): Promise<string> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    bytes += value.byteLength;
    text += decoder.decode(value, { stream: true });
    onProgress(bytes);
  }
  return text + decoder.decode();
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
  search: (p: { filter: string[]; limit: number; page?: string | undefined } & Window, ask?: Ask) =>
    getJSON<List<TraceSummary>>("search", { ...p }, ask),
  skeleton: (traceId: string, ask?: Ask) =>
    getJSON<Skeleton>(`traces/${encodeURIComponent(traceId)}`, undefined, ask),
  spans: (traceId: string, ids: string[], ask?: Ask) =>
    getJSON<List<Span>>(`traces/${encodeURIComponent(traceId)}/spans`, { ids: ids.join(",") }, ask),
  otlpUrl: (traceId: string) => apiUrl(`traces/${encodeURIComponent(traceId)}/otlp`),
};
