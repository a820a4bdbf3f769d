import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { createContext, useContext, useState } from "react";
import { type Ask, api } from "../api/client";
import type { Found, Hops, List, Span } from "../api/types";
import { useRested } from "../shell/rested";

/** Where the parts of a trace come from that are asked for one by one: the server, or a file that was opened. */
export interface TraceSource {
  /** Tells sources apart in the cache. */
  key: string;
  spans(traceId: string, ids: string[], ask: Ask): Promise<List<Span>>;
  /** Spans that carry a text, as the server's find does it. */
  find(traceId: string, text: string, ask: Ask): Promise<Found>;
  /** Undefined where the file has none. */
  hops(traceId: string, ask: Ask): Promise<Hops | undefined>;
  /** The trace as OTLP JSON, in pieces of bytes. */
  otlp(traceId: string, ask: Ask): Promise<Uint8Array[]>;
}

export const server: TraceSource = {
  key: "server",
  spans: api.spans,
  find: api.find,
  hops: api.hops,
  otlp: api.otlp,
};

export const SourceContext = createContext<TraceSource>(server);

export const useSource = () => useContext(SourceContext);

export function useSpans(traceId: string, ids: string[]) {
  const source = useSource();
  return useQuery({
    queryKey: ["spans", source.key, traceId, ids],
    enabled: ids.length > 0,
    queryFn: ({ signal }) => source.spans(traceId, ids, { signal }),
    staleTime: Number.POSITIVE_INFINITY,
    placeholderData: keepPreviousData,
  });
}

/** The spans that carry what stands in the find field; asked when the typing rests, and not for a single letter. */
export function useFound(traceId: string, text: string) {
  const source = useSource();
  const rested = useRested(text.trim(), 150);
  const query = useQuery({
    queryKey: ["find", source.key, traceId, rested],
    enabled: rested.length > 1 && text !== "",
    queryFn: ({ signal }) => source.find(traceId, rested, { signal }),
    staleTime: 60_000,
    retry: false,
  });
  // What was found for an earlier text must not be gone to.
  return { ...query, data: rested === text.trim() ? query.data : undefined };
}

/** The calls of the trace and its clocks; asked for by the first view that needs them. */
export function useHops(traceId: string, wanted: boolean, growing: boolean) {
  const source = useSource();
  const [bytes, setBytes] = useState(0);
  const query = useQuery({
    queryKey: ["hops", source.key, traceId],
    enabled: wanted,
    // Query functions may not answer undefined.
    queryFn: async ({ signal }) => (await source.hops(traceId, { signal, onProgress: setBytes })) ?? null,
    staleTime: growing ? 5_000 : Number.POSITIVE_INFINITY,
    structuralSharing: false,
  });
  return { ...query, bytes };
}
