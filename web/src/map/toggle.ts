import type { MapView } from "../model/mapUrl";
import type { Graph } from "./graph";

/** Folding or opening one group is an exception from the rule, or the end of one. */
export function toggled(v: MapView, group: string, graph: Graph | undefined): MapView {
  const folded = graph?.groups.find((g) => g.id === group)?.folded ?? false;
  // The box that was selected is no longer there.
  const selection = v.selection?.kind === "group" && v.selection.id === group ? undefined : v.selection;
  const without = (list: string[]) => list.filter((x) => x !== group);
  const open = without(v.open);
  const closed = without(v.closed);
  if (folded) return { ...v, selection, open: graph?.folding ? [...open, group] : open, closed };
  return { ...v, open, closed: graph?.folding ? closed : [...closed, group] };
}
