import type { Dict } from "../i18n";
import { flag } from "../model/trace";

const marks: [bit: number, text: keyof Dict["trace"]["mark"]][] = [
  [flag.outsideParent, "outsideParent"],
  [flag.impossibleTime, "impossibleTime"],
  [flag.sharedId, "sharedId"],
  [flag.duplicates, "duplicates"],
  [flag.twinId, "twinId"],
  [flag.serviceDerived, "serviceDerived"],
  [flag.nameDerived, "nameDerived"],
  [flag.cut, "cut"],
];

/** Marks that say something is doubtful about a row; the others only tell how it came about. */
export const doubtful = flag.outsideParent | flag.impossibleTime | flag.cut;

/** markTexts tells in words what the flags of a row say about its repair. */
export function markTexts(flags: number, t: Dict): string[] {
  return marks.filter(([bit]) => flags & bit).map(([, text]) => t.trace.mark[text]);
}
