import { canonicalId } from "./ids";
import { build, type Rest, restOf } from "./rest";

/** What the comparison shows, all of it from the URL. */
export interface CompareView {
  /** Ids of the traces; undefined where none or no id was given. */
  a: string | undefined;
  b: string | undefined;
  /** The tree shows all calls instead of those that differ. */
  all: boolean;
  rest: Rest;
}

const known = ["a", "b", "all"];

export function parseCompare(query: string): CompareView {
  const p = new URLSearchParams(query);
  return {
    a: canonicalId(p.get("a") ?? "", 32),
    b: canonicalId(p.get("b") ?? "", 32),
    all: p.get("all") === "1",
    rest: restOf(p, known),
  };
}

export function formatCompare(v: CompareView): string {
  return build(
    [
      ["a", v.a],
      ["b", v.b],
      ["all", v.all ? "1" : undefined],
    ],
    v.rest,
  );
}
