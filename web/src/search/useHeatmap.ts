import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { api } from "../api/client";
import { type Range, rangeWindow } from "../model/time";
import type { Question } from "../model/traceql";
import { askedOf } from "./useTraceStream";

export const heatColumns = 72;

export function useHeatmap(question: Question, range: Range, enabled: boolean) {
  const asked = askedOf(question);
  return useQuery({
    queryKey: ["heatmap", asked, range],
    enabled,
    queryFn: ({ signal }) =>
      api.heatmap({ ...asked, columns: heatColumns, ...rangeWindow(range) }, { signal }),
    placeholderData: keepPreviousData,
    staleTime: 30_000,
    retry: false,
  });
}
