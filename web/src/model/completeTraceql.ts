/** Where the cursor of a TraceQL text stands, as far as completion needs to know. */
export type Place =
  /** A field, attribute or word begins at `from`. */
  | { kind: "field"; from: number; text: string }
  /** A key behind a scope; `from` is where the scope begins. */
  | { kind: "key"; from: number; scope: string; prefix: string }
  /** A value of `field` behind an operator; `from` includes an opening quote. */
  | { kind: "value"; from: number; field: string; prefix: string }
  /** Behind a pipe or between span sets. */
  | { kind: "outside"; from: number; text: string };

const name =
  /(?:(span|resource|event|link|instrumentation)?\.(?:[^\s{}()=~!<>&|^,"]|"(?:[^"\\]|\\.)*")*|[\w:]+)$/;

/** placeOf reads the text before the cursor; undefined inside of a comment or a string that is no value. */
export function placeOf(text: string, at: number): Place | undefined {
  const before = text.slice(0, at);
  const open = lastOpenString(before);
  if (open === "comment") return undefined;
  const head = open === undefined ? before : before.slice(0, open);
  const operator = /(?:!=|=~|!~|>=|<=|=|>|<)\s*([^\s{}()=~!<>&|^,"`]*)$/.exec(head);
  const inside =
    /\{[^{}]*$/.test(withoutStrings(head)) || /\b(?:by|select|avg|min|max|sum)\s*\([^()]*$/.test(head);
  if (operator && inside) {
    const left = name.exec(head.slice(0, operator.index).trimEnd());
    if (!left) return undefined;
    if (open !== undefined)
      return { kind: "value", from: open, field: left[0], prefix: before.slice(open + 1) };
    const prefix = operator[1]!;
    return { kind: "value", from: at - prefix.length, field: left[0], prefix };
  }
  if (open !== undefined) return undefined;
  const word = name.exec(before);
  const from = at - (word?.[0].length ?? 0);
  if (!inside) return { kind: "outside", from, text: word?.[0] ?? "" };
  const scoped = word && /^(span|resource|event|link|instrumentation|)\.(.*)$/s.exec(word[0]);
  if (scoped) {
    const scope = scoped[1] === "" ? "any" : scoped[1] === "instrumentation" ? "scope" : scoped[1]!;
    return { kind: "key", from, scope, prefix: scoped[2]!.replace(/"/g, "") };
  }
  return { kind: "field", from, text: word?.[0] ?? "" };
}

/** Where the string begins that the text ends in; "comment" inside of one. */
function lastOpenString(text: string): number | "comment" | undefined {
  const rest = text.replace(/"(?:[^"\\]|\\.)*"|`[^`]*`|\/\/[^\n]*\n|\/\*[\s\S]*?\*\//g, (m) =>
    " ".repeat(m.length),
  );
  const m = /["`]|\/\/|\/\*/.exec(rest);
  if (!m) return undefined;
  return m[0].length === 2 ? "comment" : m.index;
}

function withoutStrings(text: string): string {
  return text.replace(/"(?:[^"\\]|\\.)*"|`[^`]*`/g, (m) => " ".repeat(m.length));
}

/** Intrinsics with what may stand behind them; undefined asks the server or takes anything. */
export const intrinsicValues: Record<string, readonly string[] | undefined> = {
  duration: ["10ms", "50ms", "100ms", "250ms", "500ms", "1s", "5s"],
  name: undefined,
  status: ["error", "ok", "unset"],
  statusMessage: undefined,
  kind: ["server", "client", "internal", "producer", "consumer", "unspecified"],
  traceDuration: ["100ms", "500ms", "1s", "5s"],
  rootName: undefined,
  rootServiceName: undefined,
  nestedSetParent: ["-1"],
  "span:childCount": undefined,
  "span:parentID": undefined,
  "trace:id": undefined,
  "span:id": undefined,
  "event:name": undefined,
  "instrumentation:name": undefined,
};

export const scopeWords = ["span.", "resource.", "event.", "link.", "instrumentation.", "."] as const;

export const outsideWords = [
  "| count() > ",
  "| avg(duration) > ",
  "| max(duration) > ",
  "| by(resource.service.name)",
  "| select(",
  "&& { ",
  "|| { ",
  ">> { ",
  "> { ",
  "~ { ",
] as const;
