import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useI18n } from "../i18n";
import type { Earlier } from "../model/mapUrl";
import { absolute, lastMs, msInstant, type Range, rangeWindow } from "../model/time";
import { mapApi } from "./api";

/** A range that ends now is asked again: the map of an hour each 15 s, of a week each minute. */
function refresh(range: Range): number | false {
  return range.kind === "last" ? Math.min(60_000, Math.max(10_000, lastMs(range.last) / 240)) : false;
}

export function useMap(range: Range, telemetry: boolean) {
  const lang = useI18n().t.code;
  return useQuery({
    queryKey: ["map", range, telemetry, lang],
    queryFn: ({ signal }) => mapApi.map(rangeWindow(range), telemetry, lang, { signal }),
    refetchInterval: refresh(range),
    placeholderData: keepPreviousData,
  });
}

const shifts: Record<Exclude<Earlier, "before">, number> = { "1h": 3600e3, "1d": 86400e3, "7d": 7 * 86400e3 };

/** The window of equal length right before a range, or so much earlier; both in milliseconds. */
export function earlierRange(range: Range, by: Earlier, nowMs: number): { from: number; to: number } {
  const r = absolute(range, nowMs) as Extract<Range, { kind: "between" }>;
  const shift = by === "before" ? r.to - r.from : shifts[by];
  return { from: r.from - shift, to: r.to - shift };
}

/** What the map was in an earlier window. */
export function useEarlier(range: Range, by: Earlier | undefined, telemetry: boolean) {
  const lang = useI18n().t.code;
  return useQuery({
    queryKey: ["map", "earlier", range, by, telemetry, lang],
    enabled: by !== undefined,
    queryFn: ({ signal }) => {
      const { from, to } = earlierRange(range, by!, Date.now());
      return mapApi.map({ start: msInstant(from), end: msInstant(to) }, telemetry, lang, { signal });
    },
    staleTime: 60_000,
    refetchInterval: range.kind === "last" ? 60_000 : false,
  });
}
