/**
 * jsonLines lays JSON out in lines of two blanks a level. Short lists and objects stay
 * on one line. What is no JSON comes back as its own lines.
 */
export function jsonLines(text: string): string[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return text.split("\n");
  }
  const out: string[] = [];
  write(out, value, "", "", "");
  return out;
}

/** Objects whose text is at most this long stay on one line: most attributes do. */
const oneLine = 100;

function write(out: string[], value: unknown, indent: string, key: string, comma: string): void {
  if (value === null || typeof value !== "object") {
    out.push(`${indent}${key}${JSON.stringify(value)}${comma}`);
    return;
  }
  if (depth(value) <= 2) {
    const text = JSON.stringify(value);
    if (text.length <= oneLine) {
      out.push(`${indent}${key}${text}${comma}`);
      return;
    }
  }
  const list = Array.isArray(value);
  const entries = list ? value.map((v) => ["", v] as const) : Object.entries(value);
  out.push(`${indent}${key}${list ? "[" : "{"}`);
  for (const [i, [k, v]] of entries.entries()) {
    write(out, v, `${indent}  `, list ? "" : `${JSON.stringify(k)}: `, i < entries.length - 1 ? "," : "");
  }
  out.push(`${indent}${list ? "]" : "}"}${comma}`);
}

/** How deep a value goes, counted to 3. */
function depth(value: unknown): number {
  if (value === null || typeof value !== "object") return 0;
  let most = 0;
  for (const v of Object.values(value)) {
    const d =
      v === null || typeof v !== "object"
        ? 0
        : Object.values(v).some((x) => x !== null && typeof x === "object")
          ? 2
          : 1;
    most = Math.max(most, d);
    if (most === 2) break;
  }
  return most + 1;
}
