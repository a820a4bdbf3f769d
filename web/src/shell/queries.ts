import { keepPreviousData, QueryClient, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { ApiError, api, apiUrl } from "../api/client";
import { lastMs, type Range, rangeWindow } from "../model/time";
import { mayGrow } from "../model/trace";
import { readSkeleton } from "../model/workshop";

export function makeQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        refetchOnWindowFocus: false,
        staleTime: 10_000,
        // Once more for what may pass; never for what the server understood and refused.
        retry: (count, error) =>
          count < 1 && error instanceof ApiError && (error.kind === "overloaded" || error.status === 0),
        retryDelay: 800,
      },
    },
  });
}

export function useStatus(refreshMs = 5000) {
  return useQuery({
    queryKey: ["status"],
    queryFn: ({ signal }) => api.status({ signal }),
    refetchInterval: refreshMs,
    staleTime: refreshMs,
  });
}

export function useReceipts() {
  return useQuery({
    queryKey: ["receipts"],
    queryFn: ({ signal }) => api.receipts({ start: "1h" }, { signal }),
    refetchInterval: 15_000,
  });
}

export function useServices(range: Range) {
  return useQuery({
    queryKey: ["services", range],
    queryFn: ({ signal }) => api.services(rangeWindow(range), true, { signal }),
    // A range that ends now is worth asking again; the longer it is, the less often.
    refetchInterval:
      range.kind === "last" ? Math.min(60_000, Math.max(10_000, lastMs(range.last) / 240)) : false,
    placeholderData: keepPreviousData,
  });
}

/** Traces do not change once they are whole; a young one is asked again until it is. */
export function useSkeleton(traceId: string) {
  const [bytes, setBytes] = useState(0);
  const query = useQuery({
    queryKey: ["trace", traceId],
    queryFn: async ({ signal }) => {
      const pieces = await api.skeleton(traceId, { signal, onProgress: setBytes });
      try {
        return await readSkeleton(pieces);
      } catch (cause) {
        const tried = `GET ${apiUrl(`traces/${traceId}`)}`;
        throw new ApiError({ kind: "network", message: String(cause), status: 200, tried });
      }
    },
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 5 * 60_000,
    // Columns of 50,000 rows: comparing the old answer with the new costs more than using the new.
    structuralSharing: false,
    refetchInterval: (q) =>
      q.state.data && mayGrow(q.state.data) && q.state.data.spanCount < 5000 ? 5000 : false,
  });
  return { ...query, bytes };
}
