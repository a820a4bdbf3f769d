import type { I18n } from "../i18n";
import type { Condition } from "../model/conditions";
import { amountText } from "../model/conditions";
import { visible } from "../model/visible";
import type { Figures, MapNode, NodeKind } from "./api";
import type { Group, VNode } from "./graph";

/** What a node is called: clients and unknown ones have no name of their own. */
export function nodeName(n: Pick<MapNode, "kind" | "service">, { t }: I18n): string {
  return n.service === "" ? t.map.noName[n.kind] : visible(n.service);
}

/** The name in an id (kind/namespace/name), for nodes that are not in the answer. */
export function nameInId(id: string, i18n: I18n): string {
  const [kind = "", , ...name] = id.split("/");
  const known = Object.hasOwn(i18n.t.map.noName, kind) ? (kind as NodeKind) : "unknown";
  return nodeName({ kind: known, service: name.join("/") }, i18n);
}

/** What a folded group is called: its namespace, or the kind of its nodes. */
export function groupName(id: string, { t }: I18n): string {
  const name = id.slice(id.indexOf("/") + 1);
  return id.startsWith("kind/") ? (t.map.groupOfKind[name] ?? visible(name)) : visible(name);
}

export function drawnName(n: VNode, i18n: I18n): string {
  return n.kind === "group" ? groupName(n.id, i18n) : nodeName(n.members[0]!, i18n);
}

export function groupTitle(g: Pick<Group, "id">, i18n: I18n): string {
  return groupName(g.id, i18n);
}

/** How often, in the unit that a person would say it in: 12/s, 4/min, 2/h; ≈ where it is corrected for sampling. */
export function rateText(r: Pick<Figures, "rate" | "estimated">, { t, f }: I18n): string {
  const about = r.estimated ? "≈" : "";
  if (r.rate >= 0.1 || r.rate === 0) return about + t.map.rateSecond(f.number(r.rate));
  if (r.rate * 60 >= 0.1) return about + t.map.rateMinute(f.number(r.rate * 60));
  return about + t.map.rateHour(f.number(r.rate * 3600));
}

/** What a screen reader says of a node. */
export function spokenNode(n: VNode, i18n: I18n): string {
  const { t, f } = i18n;
  const name = drawnName(n, i18n);
  const { figures } = n;
  if (n.kind === "group")
    return t.map.groupName(
      name,
      f.integer(n.members.length),
      rateText(figures, i18n),
      f.percent(figures.errorRate),
    );
  const kind = t.map.kind[n.kind];
  if (figures.n === 0) return t.map.nodeNameQuiet(kind, name);
  return t.map.nodeName(
    kind,
    name,
    rateText(figures, i18n),
    f.percent(figures.errorRate),
    f.duration(figures.p95),
  );
}

/** A condition in words: "Error rate more than 5%". */
export function conditionText(c: Condition, { t }: I18n): string {
  const field = t.map.field[c.field];
  switch (c.field) {
    case "errors":
    case "p95":
    case "rate":
      return `${field} ${c.op} ${amountText(c)}`;
    case "kind":
      return `${field}: ${t.map.kind[c.value]}`;
    case "mtls":
      return `${field}: ${t.map.mtlsWord[c.value]}`;
    default:
      return `${field}: ${c.value}`;
  }
}
