import { cleanup, fireEvent, screen, waitFor, within } from "@testing-library/react";
import { beforeEach, describe, expect, test } from "vitest";
import { hopsOf, otlpOf } from "../../e2e/fixture-trace.mjs";
import { makeTrace } from "../../e2e/generate.mjs";
import { fakeApi, giveSizes, show } from "../../test/render";
import ComparePage from "../compare/ComparePage";
import { pick } from "../compare/CompareWith";
import FilePage from "../file/FilePage";
import { formatPortable } from "../model/portable";
import { prefs } from "../shell/prefs";
import { TracePage } from "./TracePage";

// biome-ignore lint/suspicious/noExplicitAny: made-up answers of the API
type Made = any;
const made: Made = makeTrace({ seed: 5, spans: 60 });
const id: string = made.skeleton.traceId;

function open(query: string, trace: Made = made, more: Record<string, unknown> = {}) {
  const traceId = trace.skeleton.traceId;
  const asked = fakeApi({
    [`traces/${traceId}/spans`]: () => ({
      items: trace.skeleton.spans.id.map((_: string, r: number) => trace.details(r)),
    }),
    [`traces/${traceId}/otlp`]: () => otlpOf(trace),
    [`traces/${traceId}`]: trace.skeleton,
    hops: () => hopsOf(trace),
    ...more,
  });
  show(<TracePage id={traceId} />, `/trace/${traceId}${query}`);
  return asked;
}

beforeEach(() => giveSizes());

describe("the views", () => {
  test("the table has a line for each operation, sorted by its own column, and opens the longest span", async () => {
    open("?view=table");
    const table = await screen.findByRole("table", {}, { timeout: 5000 });
    const lines = () => within(table).getAllByRole("row").slice(1);
    const operations = new Set(
      made.skeleton.spans.id.flatMap((_: string, r: number) =>
        made.skeleton.spans.flags[r] & 4
          ? []
          : [`${made.skeleton.spans.service[r]} ${made.skeleton.spans.name[r]}`],
      ),
    );
    expect(Number(table.getAttribute("aria-rowcount"))).toBe(operations.size + 1);
    fireEvent.click(within(table).getByRole("button", { name: /^Service and operation/ }));
    await waitFor(() => expect(location.search).toBe("?view=table&sort=name"));
    const names = lines().map((l) => l.firstElementChild?.getAttribute("title") ?? "");
    expect(names).toEqual([...names].sort());
    fireEvent.click(within(lines()[0]!).getByRole("button"));
    await screen.findByRole("complementary", { name: "Span details" });
  });
  test("the hops say from whom to whom, what failed and why", async () => {
    const faulty: Made = Array.from({ length: 40 }, (_, i) => makeTrace({ seed: i, spans: 80 }) as Made).find(
      (t) => hopsOf(t).items.some((h: Made) => h.flags.length > 0),
    );
    const asked = open("?view=hops", faulty);
    await screen.findByRole("list", {}, { timeout: 5000 });
    expect(asked).toEqual([`traces/${faulty.skeleton.traceId}`, `hops?traceId=${faulty.skeleton.traceId}`]);
    fireEvent.click(screen.getByRole("button", { name: "Only errors" }));
    expect((await screen.findAllByText(/Connecting to the endpoint failed/)).length).toBeGreaterThan(0);
    expect(screen.getAllByText(/Nothing listens on that port/).length).toBeGreaterThan(0);
    expect(screen.getAllByText("mTLS ?").length).toBeGreaterThan(0);
  });
  test("the JSON is asked for when its view is opened, and a large one only on demand", async () => {
    const asked = open("?view=json");
    await screen.findByText(/lines, .*, as it was received/, {}, { timeout: 5000 });
    expect(asked).toContain(`traces/${id}/otlp`);
    cleanup();
    const large = makeTrace({ seed: 2, spans: 6000 }) as Made;
    const again = open("?view=json", large);
    await screen.findByRole("button", { name: "Load it" });
    expect(again.some((a) => a.includes("otlp"))).toBe(false);
  });
  test("clocks: raw by default, corrected by a switch, and said so", async () => {
    const skewed: Made = Array.from({ length: 60 }, (_, i) => makeTrace({ seed: i, spans: 80 }) as Made).find(
      (t) => t.skeleton.spans.flags.some((f: number) => f & 32),
    );
    const asked = open("", skewed);
    await screen.findByRole("treegrid");
    expect(asked).toHaveLength(1);
    expect(screen.queryByText(/are corrected in this view/)).toBeNull();
    fireEvent.click(screen.getByRole("radio", { name: "Corrected" }));
    await screen.findByText("Times of 1 clock are corrected in this view; they are an estimate.");
    expect(location.search).toBe("?clock=corrected");
    fireEvent.click(screen.getByRole("radio", { name: "As sent" }));
    await waitFor(() => expect(screen.queryByText(/are corrected in this view/)).toBeNull());
  });
  test("half a million spans open as their summary", async () => {
    const n = 200_001;
    const skeleton = {
      ...made.skeleton,
      spanCount: n,
      spans: Object.fromEntries(
        Object.entries(made.skeleton.spans as Record<string, unknown[]>).map(([k, v]) => [
          k,
          Array.from({ length: n }, (_, i) => (k === "parent" ? (i === 0 ? -1 : 0) : v[i % v.length])),
        ]),
      ),
    };
    open("", { skeleton, details: made.details });
    await screen.findByText(/200,001 spans: this is the summary/, {}, { timeout: 20_000 });
    await screen.findByRole("table", {}, { timeout: 20_000 });
    expect(location.search).toBe("");
  }, 60_000);
});

describe("details", () => {
  const real = made.skeleton.spans.flags.findIndex((f: number) => !(f & 4));
  test("links to logs are kept in this browser and filled with the span", async () => {
    prefs.change({ logLinks: [{ name: "Logs", url: "https://logs.example.org/q?t={traceId}&s={spanId}" }] });
    open(`?span=${made.skeleton.spans.id[real]}`);
    const link = await screen.findByRole("link", { name: /^Logs/ });
    expect(link.getAttribute("href")).toBe(
      `https://logs.example.org/q?t=${id}&s=${made.skeleton.spans.id[real]}`,
    );
    expect(link.getAttribute("rel")).toContain("noopener");
    prefs.change({ logLinks: [] });
  });
  test("a comparison with its peers that fails says so and takes nothing else down", async () => {
    open(`?span=${made.skeleton.spans.id[real]}`);
    await screen.findByText(/The comparison with its peers failed/, {}, { timeout: 10_000 });
    expect(screen.getByRole("heading", { name: "Resource" })).toBeTruthy();
  });
});

describe("comparison", () => {
  test("without two ids it asks for them, and keeps what was typed", async () => {
    fakeApi({});
    show(<ComparePage />, "/compare?a=12");
    const [a, b] = screen.getAllByRole("textbox") as HTMLInputElement[];
    expect(a!.value).toBe("0000000000000012");
    fireEvent.change(b!, { target: { value: "nonsense" } });
    fireEvent.click(screen.getByRole("button", { name: "Compare" }));
    await screen.findByText(/This is no trace id/);
    expect(b!.value).toBe("nonsense");
  });
  test("names what is slower, and links into both traces", async () => {
    const slow = structuredClone(made.skeleton);
    slow.traceId = "f".repeat(32);
    const leaf = slow.spans.parent.findIndex(
      (_: number, r: number) =>
        r > 3 && !slow.spans.parent.includes(r) && slow.spans.hop[r] < 0 && !(slow.spans.flags[r] & 4),
    );
    slow.spans.duration[leaf] += slow.duration;
    slow.duration *= 2;
    fakeApi({ [`traces/${id}`]: made.skeleton, [`traces/${slow.traceId}`]: slow });
    show(<ComparePage />, `/compare?a=${id}&b=${slow.traceId}`);
    await screen.findByText(/^B is .* slower than A \(100%\)\.$/);
    const first = screen.getAllByRole("row")[1]!;
    expect(within(first).getByText("slower")).toBeTruthy();
    expect(within(first).getByText(slow.services[slow.spans.service[leaf]].group)).toBeTruthy();
    expect(
      within(first)
        .getAllByRole("link")
        .map((l) => l.getAttribute("href")),
    ).toEqual([
      `/trace/${id}?span=${slow.spans.id[leaf]}`,
      `/trace/${slow.traceId}?span=${slow.spans.id[leaf]}`,
    ]);
  });
  test("offers a typical trace first", () => {
    const trace = (traceId: string, duration: number, errors = 0): Made => ({ traceId, duration, errors });
    expect(
      pick([trace("a", 9), trace("b", 1), trace("c", 5), trace("d", 100, 2), trace("e", 6)]).map(
        (p) => p.what + p.trace.traceId,
      ),
    ).toEqual(["typicale", "fastestb", "slowestd"]);
  });
});

test("a file that was saved opens without asking the server", async () => {
  const asked = fakeApi({});
  show(<FilePage />, "/file");
  const text = formatPortable(
    "",
    JSON.stringify(made.skeleton),
    JSON.stringify(hopsOf(made)),
    JSON.stringify(otlpOf(made)),
  );
  const input = document.querySelector("input[type=file]")!;
  fireEvent.change(input, { target: { files: [new File(["{}"], "bad.json")] } });
  await screen.findByText(/neither a trace saved by Spanloom/);
  fireEvent.change(input, { target: { files: [new File([text], "good.json")] } });
  await screen.findByRole("treegrid");
  fireEvent.click(screen.getAllByRole("row").find((r) => r.hasAttribute("data-row"))!);
  await screen.findByRole("heading", { name: "Resource" });
  expect(screen.queryByRole("button", { name: "Keep" })).toBeNull();
  expect(asked).toEqual([]);
});
