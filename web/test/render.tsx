import { QueryClientProvider } from "@tanstack/react-query";
import { render } from "@testing-library/react";
import type { ReactNode } from "react";
import { vi } from "vitest";
import { Router } from "wouter";
import { makeQueryClient } from "../src/shell/queries";

/** Answers of the API by the start of the path behind /api/spanloom/v1/; a function may wait or throw. */
export type Answers = Record<string, unknown | (() => unknown)>;

interface Page {
  items: unknown[];
}

/** lines is a page of traces as the streamed search sends it. */
export function lines({ items, ...end }: Page): Response {
  const all = [...items.map((trace) => ({ type: "trace", trace })), { type: "end", ...end }];
  return new Response(all.map((line) => `${JSON.stringify(line)}\n`).join(""), {
    headers: { "content-type": "application/x-ndjson" },
  });
}

/** A heatmap of no spans: what fakeApi answers where a test has none of its own. */
const noHeat = {
  start: "1767225600000000000",
  step: 60e9,
  columns: 60,
  of: "roots",
  bounds: [],
  cells: [],
  red: { n: 0, weight: 0, errors: 0, rate: 0, errorRate: 0, p50: 0, p95: 0, p99: 0, estimated: false },
  complete: true,
};

/** fakeApi answers fetch from a table and keeps the paths that were asked. */
export function fakeApi(answers: Answers): string[] {
  const asked: string[] = [];
  vi.stubGlobal("fetch", async (input: string) => {
    const path = String(input).split("/api/spanloom/v1/")[1] ?? "";
    asked.push(path);
    const key = Object.keys(answers)
      .filter((k) => path.startsWith(k))
      .sort((a, b) => b.length - a.length)[0];
    if (key === undefined && path.startsWith("heatmap")) return Response.json(noHeat);
    if (key === undefined) {
      return Response.json(
        { error: { kind: "notFound", message: `no answer for ${path}` } },
        { status: 404 },
      );
    }
    const answer = answers[key];
    const body = typeof answer === "function" ? await answer() : answer;
    if (body instanceof Response) return body;
    return path.startsWith("search/stream") ? lines(body as Page) : Response.json(body);
  });
  return asked;
}

/** show renders a page at an address inside a fresh cache. */
export function show(page: ReactNode, address: string) {
  history.replaceState(null, "", address);
  return render(
    <QueryClientProvider client={makeQueryClient()}>
      <Router>{page}</Router>
    </QueryClientProvider>,
  );
}

/** giveSizes lets the virtual lists see a screen: the test's document has no layout. */
export function giveSizes(width = 1200, height = 600): void {
  vi.spyOn(HTMLElement.prototype, "offsetWidth", "get").mockReturnValue(width);
  vi.spyOn(HTMLElement.prototype, "offsetHeight", "get").mockReturnValue(height);
  vi.spyOn(HTMLElement.prototype, "clientWidth", "get").mockReturnValue(width);
  vi.spyOn(HTMLElement.prototype, "clientHeight", "get").mockReturnValue(height);
}

export const status = (last: string | undefined) => ({
  version: "1",
  commit: "c",
  uptime: 1e9,
  now: String(BigInt(Date.now()) * 1000000n),
  receivers: [
    {
      protocol: "zipkin",
      address: "127.0.0.1:9411",
      spansPerSecond: 0,
      spans: 0,
      refused: {},
      ...(last ? { lastTime: last } : {}),
    },
  ],
  store: { kind: "memory", spans: last ? 10 : 0, traces: 1 },
  listeners: [],
});
