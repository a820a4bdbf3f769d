import type { TraceSummary } from "../api/types";
import type { Sort } from "../model/searchUrl";

/** sortTraces orders what is loaded; equal ones stay newest first, as the API gave them. */
export function sortTraces(traces: readonly TraceSummary[], sort: Sort): readonly TraceSummary[] {
  const by: Record<Exclude<Sort, "newest">, (t: TraceSummary) => number> = {
    longest: (t) => t.duration,
    errors: (t) => t.errors,
    spans: (t) => t.spans,
  };
  if (sort === "newest") return traces;
  return [...traces].sort((a, b) => by[sort](b) - by[sort](a));
}
