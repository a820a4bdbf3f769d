import { rangeKeys, rangeParts, readRange } from "./rangeUrl";
import { build, type Rest, restOf } from "./rest";
import type { Range } from "./time";

/** What the page of a service shows; which service it is stands in the path. */
export interface ServiceView {
  range: Range;
  /** Of which kind the node is: gateways and databases have a page too. */
  kind: string;
  rest: Rest;
}

const known = [...rangeKeys, "kind"];

export function parseService(query: string): ServiceView {
  const p = new URLSearchParams(query);
  return { range: readRange(p), kind: p.get("kind") || "service", rest: restOf(p, known) };
}

export function formatService(v: ServiceView): string {
  return build([...rangeParts(v.range), ["kind", v.kind === "service" ? undefined : v.kind]], v.rest);
}

/** A path may not hold an empty segment, so `-` stands for no namespace and `~` before what starts with either of them. */
export function pathSegment(text: string): string {
  const safe = text === "" ? "-" : /^[-~]/.test(text) ? `~${text}` : text;
  return encodeURIComponent(safe.toWellFormed());
}

/** Namespace and name out of a raw path, /service/NS/NAME under any base; what cannot be decoded stays as it is. */
export function serviceOfPath(path: string): [namespace: string, name: string] {
  const [ns = "", name = ""] = path
    .split("/")
    .slice(-2)
    .map((s) => {
      try {
        return decodeURIComponent(s);
      } catch {
        return s;
      }
    });
  return [fromSegment(ns), fromSegment(name)];
}

export function fromSegment(segment: string): string {
  if (segment === "-") return "";
  return segment.startsWith("~") ? segment.slice(1) : segment;
}

/** The address of a node's page. */
export function servicePath(n: { kind: string; namespace: string; service: string }, range: Range): string {
  const query = formatService({ range, kind: n.kind, rest: [] });
  return `/service/${pathSegment(n.namespace)}/${pathSegment(n.service)}${query ? `?${query}` : ""}`;
}
