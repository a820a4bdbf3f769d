import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useRef, useState } from "react";
import { api, isAbort } from "../api/client";
import type { Asked, Read, SearchLine, TraceSummary } from "../api/types";
import { apiFilter } from "../model/filters";
import { type Range, rangeWindow } from "../model/time";
import type { Question } from "../model/traceql";

/** What a search has found so far, over all pages that were asked for. */
export interface Found {
  traces: TraceSummary[];
  read: Read;
  /** The last page ended; false while lines still come. */
  ended: boolean;
  /** A reader broke it off. */
  stopped: boolean;
  next?: string | undefined;
  complete: boolean;
  reason?: string | undefined;
  away?: boolean | undefined;
}

const nothing: Found = { traces: [], read: {}, ended: false, stopped: false, complete: true };

export function askedOf(q: Question): Asked {
  return q.kind === "traceql" ? { q: q.text } : { filter: q.filters.map(apiFilter) };
}

/** useTraceStream searches and shows traces as they come. Pages after the first are asked for by `more`. */
export function useTraceStream(question: Question, range: Range, limit: number) {
  const client = useQueryClient();
  const asked = askedOf(question);
  const key = ["search", asked, range, limit];
  const latest = useRef(key);
  latest.current = key;
  const running = useRef<AbortController>(undefined);
  const [paging, setPaging] = useState(false);
  const [pageError, setPageError] = useState<unknown>();

  const run = async (before: Found, page: string | undefined, into: unknown[], signal?: AbortSignal) => {
    const stop = new AbortController();
    running.current = stop;
    signal?.addEventListener("abort", () => stop.abort());
    let found: Found = { ...before, ended: false, stopped: false };
    const ids = new Set(found.traces.map((t) => t.traceId));
    try {
      await api.searchStream(
        { ...asked, limit, page, ...rangeWindow(range) },
        (lines) => {
          found = withLines(found, before.read, lines, ids);
          client.setQueryData(into, found);
        },
        { signal: stop.signal },
      );
    } catch (cause) {
      // Stopped by hand: what was found stands.
      if (!isAbort(cause) || signal?.aborted) throw cause;
      found = { ...found, ended: true, stopped: true };
    }
    client.setQueryData(into, found);
    return found;
  };

  const query = useQuery({
    queryKey: key,
    queryFn: ({ signal }) => {
      setPageError(undefined);
      return run(nothing, undefined, key, signal);
    },
    placeholderData: keepPreviousData,
    staleTime: 30_000,
    structuralSharing: false,
  });

  const more = async () => {
    const found = client.getQueryData<Found>(key);
    if (!found?.next || paging) return;
    setPaging(true);
    setPageError(undefined);
    try {
      await run(found, found.next, key);
    } catch (cause) {
      client.setQueryData(key, found);
      setPageError(cause);
    } finally {
      setPaging(false);
    }
  };

  return {
    found: query.data,
    /** What is shown answers the question before. */
    stale: query.isPlaceholderData,
    error: query.error ?? pageError,
    fetching: query.isFetching || paging,
    paging,
    more,
    again: useCallback(() => client.resetQueries({ queryKey: latest.current }), [client]),
    stop: useCallback(() => running.current?.abort(), []),
  };
}

/** A trace that got new spans while pages were loaded may come twice; the first stands. */
function withLines(found: Found, before: Read, lines: readonly SearchLine[], ids: Set<string>): Found {
  const fresh: TraceSummary[] = [];
  let out = found;
  for (const line of lines) {
    if (line.type === "trace") {
      if (ids.has(line.trace.traceId)) continue;
      ids.add(line.trace.traceId);
      fresh.push(line.trace);
    } else {
      out = { ...out, read: sum(before, line.read) };
      if (line.type === "end") {
        const { next, complete, reason, away } = line;
        out = {
          ...out,
          ended: true,
          next,
          complete: complete && found.complete,
          reason: reason ?? found.reason,
          away: away ?? found.away,
        };
      }
    }
  }
  return fresh.length ? { ...out, traces: [...out.traces, ...fresh] } : out;
}

function sum(a: Read, b: Read | undefined): Read {
  const of = Math.max(a.of ?? 0, b?.of ?? 0);
  return {
    blocks: Math.min((a.blocks ?? 0) + (b?.blocks ?? 0), of), // one may be read for two pages
    of,
    bytes: (a.bytes ?? 0) + (b?.bytes ?? 0),
  };
}
