import type { Attribute } from "../api/types";

/** Groups of the details panel, in the order they are shown. */
export const groups = [
  "http",
  "rpc",
  "mesh",
  "network",
  "database",
  "messaging",
  "error",
  "code",
  "other",
] as const;
export type Group = (typeof groups)[number];

const prefixes: [Group, RegExp][] = [
  ["error", /^(error|exception)(\.|$)|^otel\.status_/],
  [
    "mesh",
    /^(istio\.|node_id$|upstream_|downstream_|response_flags$|component$|guid:x-|peer\.address$|zone$|mesh\.|envoy\.|retry\.)/,
  ],
  ["rpc", /^(rpc|grpc)\./],
  ["http", /^(http|url|user_agent)(\.|$)|^(request_size|response_size)$/],
  ["database", /^(db|sql|redis|mongodb|elasticsearch)\./],
  ["messaging", /^(messaging|kafka|rabbitmq)\./],
  ["network", /^(net|network|server|client|peer|source|destination|tls|dns)\./],
  ["code", /^(code|thread|process)\./],
];

export function groupOf(key: string): Group {
  return prefixes.find(([, p]) => p.test(key))?.[0] ?? "other";
}

/** grouped splits attributes into the groups that have any, keys in order. */
export function grouped(attributes: readonly Attribute[]): { group: Group; items: Attribute[] }[] {
  const by = new Map<Group, Attribute[]>();
  for (const a of attributes) {
    const g = groupOf(a.key);
    const items = by.get(g);
    if (items) items.push(a);
    else by.set(g, [a]);
  }
  return groups.flatMap((group) => {
    const items = by.get(group);
    return items
      ? [{ group, items: items.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)) }]
      : [];
  });
}

/** valueText is the value as text: what is shown, copied and searched. */
export function valueText(a: Attribute): string {
  if (typeof a.value === "string") return a.value;
  if (a.value === null || a.value === undefined) return "null";
  return typeof a.value === "object" ? JSON.stringify(a.value) : String(a.value);
}

/** Whether "filter by" makes sense: the search compares scalars, and not bytes. */
export function canFilter(a: Attribute): boolean {
  return (
    (a.type === "string" || a.type === "int" || a.type === "double" || a.type === "bool") &&
    !/[\s"=!<>?]/.test(a.key)
  );
}

/** matches tells whether a key or value contains the text that was typed into the panel's search. */
export function matches(a: Attribute, lowerCaseText: string): boolean {
  return (
    lowerCaseText === "" ||
    a.key.toLowerCase().includes(lowerCaseText) ||
    valueText(a).toLowerCase().includes(lowerCaseText)
  );
}
