/** What a person pastes: ids and the headers that carry them. */

export type Pasted =
  | { kind: "trace"; traceId: string; spanId?: string }
  /** Envoy's x-request-id, found as an attribute and not as an id. */
  | { kind: "request"; requestId: string };

const zero = /^0+$/;
const header = /^(traceparent|b3|x-b3-traceid|x-request-id|uber-trace-id|trace[_-]?id)\s*[:=]\s*/i;
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** One header line without what surrounds it: blanks, quotes, curl's -H or the > of its output. */
function bare(line: string): string {
  return line
    .trim()
    .replace(/^(-H|--header|[<>])\s*/, "")
    .replace(/^["']|["']$/g, "")
    .trim();
}

/** canonicalId strips 0x and lower-cases; undefined if it is no id of at most `digits` digits. */
export function canonicalId(text: string, digits: 16 | 32): string | undefined {
  const id = text.trim().toLowerCase().replace(/^0x/, "");
  if (!/^[0-9a-f]+$/.test(id) || id.length > digits || zero.test(id)) return undefined;
  return id.length <= 16 ? id.padStart(16, "0") : id.padStart(32, "0");
}

/**
 * readPasted recognises a trace id (16 to 32 digits, so that words like "cafe" stay words), a
 * traceparent, a B3 or Jaeger header, an x-request-id, each with or without the header's name,
 * several header lines, and links to a trace page.
 */
export function readPasted(text: string): Pasted | undefined {
  // Several header lines: the first that carries an id, as in the three lines of B3.
  const lines = text.trim().split(/\r?\n/);
  if (lines.length > 1) {
    for (const line of lines) {
      const found = header.test(bare(line)) ? readPasted(line) : undefined;
      if (found) return found;
    }
    return undefined;
  }
  const line = bare(text);
  const value = line.replace(header, "").trim();
  // Named so, it is a request id even where it looks like a trace id; any text without blanks can be one.
  if (/^x-request-id\s*[:=]/i.test(line)) {
    if (!/^[^\s"']+$/.test(value)) return undefined;
    return { kind: "request", requestId: uuid.test(value) ? value.toLowerCase() : value };
  }

  const trace = (id: string, span?: string): Pasted | undefined => {
    const traceId = canonicalId(id, 32);
    if (!traceId) return undefined;
    const spanId = span === undefined ? undefined : canonicalId(span, 16);
    return spanId ? { kind: "trace", traceId, spanId } : { kind: "trace", traceId };
  };

  let m = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?$/i.exec(value);
  if (m) return trace(m[1]!, m[2]);
  m = /^([0-9a-f]{32}|[0-9a-f]{16})-([0-9a-f]{16})(?:-[01d])?(?:-[0-9a-f]{16})?$/i.exec(value);
  if (m) return trace(m[1]!, m[2]);
  m = /^([0-9a-f]{1,32}):([0-9a-f]{1,16}):[0-9a-f]{1,16}:[0-9a-f]{1,2}$/i.exec(value);
  if (m) return trace(m[1]!, m[2]);
  if (uuid.test(value)) return { kind: "request", requestId: value.toLowerCase() };
  m = /^(?:0x)?([0-9a-f]{16,32})$/i.exec(value);
  if (m) return trace(m[1]!);
  m = /^https?:\/\/\S*\/trace\/([0-9a-f]{1,32})(?:[?#]\S*)?$/i.exec(value);
  if (m) return trace(m[1]!);
  return undefined;
}
