import { rangeKeys, rangeParts, readRange } from "./rangeUrl";
import { build, type Rest, restOf } from "./rest";
import type { Range } from "./time";

/** What the doctor's page shows. A facts file is not part of it: it is on one person's disk. */
export interface DoctorView {
  range: Range;
  /** Whose path is shown: namespace/name; empty: the first that is broken. */
  workload: string;
  /** Code of the finding that is opened; empty: the first. */
  finding: string;
  /** Part of a workload's name. */
  find: string;
  rest: Rest;
}

const known = [...rangeKeys, "workload", "finding", "find"];

export function parseDoctor(query: string): DoctorView {
  const p = new URLSearchParams(query);
  return {
    range: readRange(p),
    workload: p.get("workload") ?? "",
    finding: p.get("finding") ?? "",
    find: p.get("find") ?? "",
    rest: restOf(p, known),
  };
}

export function formatDoctor(v: DoctorView): string {
  return build(
    [...rangeParts(v.range), ["workload", v.workload], ["finding", v.finding], ["find", v.find]],
    v.rest,
  );
}
