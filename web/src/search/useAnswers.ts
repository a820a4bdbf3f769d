import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { api } from "../api/client";
import type { Filter } from "../model/filters";
import { type Range, rangeWindow } from "../model/time";
import { useRested } from "../shell/rested";
import { type Answers, type Source, sourceOf, stageOf } from "./suggest";

/**
 * useAnswers asks the server for suggestions to what stands in the input; undefined asks nothing.
 * Searching never waits for it, and an answer that comes late is only shown if it still fits.
 */
export function useAnswers(
  text: string | undefined,
  filters: readonly Filter[],
  range: Range,
): { answers: Answers; loading: boolean; failed: boolean } {
  const rested = useRested(text, 120);
  const stage = rested === undefined ? undefined : stageOf(rested);
  const source = stage ? sourceOf(stage, filters) : undefined;
  const service = filters.find((f) => f.field === "service" && f.op === "=")?.value;
  const w = rangeWindow(range);

  // Names of services serve both as values and as a short cut while a field is typed.
  const services = useQuery({
    queryKey: ["services", "suggest", range],
    enabled: stage !== undefined && (stage.kind === "field" || stage.field === "service"),
    queryFn: ({ signal }) => api.services(w, false, { signal }),
    staleTime: 60_000,
    retry: false,
  });
  const asked = source && source.kind !== "services" ? source : undefined;
  const other = useQuery({
    queryKey: ["suggest", asked, service, range],
    enabled: asked !== undefined,
    queryFn: ({ signal }) => ask(asked!, service, w, signal),
    placeholderData: keepPreviousData,
    staleTime: 60_000,
    retry: false,
  });
  const answers: Answers = {
    ...(services.data ? { services: services.data.items } : {}),
    ...(asked ? other.data : {}),
  };
  return {
    answers,
    loading:
      (asked !== undefined && other.isFetching) || (source?.kind === "services" && services.isFetching),
    failed: (asked !== undefined && other.isError) || (source?.kind === "services" && services.isError),
  };
}

async function ask(
  source: Exclude<Source, { kind: "services" }>,
  service: string | undefined,
  w: { start: string; end?: string },
  signal: AbortSignal,
): Promise<Answers> {
  const of = service ? { service } : {};
  switch (source.kind) {
    case "keys": {
      const { prefix, scope } = source;
      return { keys: (await api.keys({ prefix, scope, limit: 30, ...of, ...w }, { signal })).items };
    }
    case "operations":
      return { operations: (await api.operations(source.service, w, { signal })).items };
    case "values": {
      const { key, scope, prefix } = source;
      return { values: (await api.values({ key, scope, prefix, limit: 40, ...of, ...w }, { signal })).items };
    }
  }
}
