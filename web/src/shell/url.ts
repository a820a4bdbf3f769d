import { useCallback, useMemo } from "react";
import { useLocation, useSearch } from "wouter";
import { basePath } from "../api/client";

export interface Codec<T> {
  parse(query: string): T;
  format(view: T): string;
}

/** Selection and the like replace the entry of the history, going elsewhere adds one. */
export type Step = "replace" | "push";

/** useUrlState keeps what a page shows in the query of its URL. */
export function useUrlState<T>(codec: Codec<T>): [T, (change: (view: T) => T, step?: Step) => void] {
  const query = useSearch();
  const [, navigate] = useLocation();
  // The router decodes query and path once too often: a name with a percent sign would be another one.
  // biome-ignore lint/correctness/useExhaustiveDependencies: `query` says when the address changed
  const view = useMemo(() => codec.parse(location.search.slice(1)), [codec, query]);
  const set = useCallback(
    (change: (view: T) => T, step: Step = "replace") => {
      // What stands in the address bar now, not at the last render: two changes may follow at once.
      const now = codec.parse(location.search.slice(1));
      const text = codec.format(change(now));
      if (text === location.search.slice(1)) return;
      const path = location.pathname.slice(basePath().length) || "/";
      navigate(text ? `${path}?${text}` : path, { replace: step === "replace" });
    },
    [codec, navigate],
  );
  return [view, set];
}
