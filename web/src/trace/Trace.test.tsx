import { act, fireEvent, screen, waitFor, within } from "@testing-library/react";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { makeTrace } from "../../e2e/generate.mjs";
import { fakeApi, giveSizes, show, status } from "../../test/render";
import { en } from "../i18n/en";
import { TracePage } from "./TracePage";

const made = makeTrace({ seed: 11, spans: 60 });
const { skeleton } = made;
const id = skeleton.traceId;

beforeEach(() => giveSizes());
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

function open(query = "", traces = made) {
  const asked = fakeApi({
    [`traces/${traces.skeleton.traceId}/spans`]: () => {
      const ids = new URLSearchParams(asked.at(-1)!.split("?")[1]).get("ids")!.split(",");
      const rows = traces.skeleton.spans.id.flatMap((x: string, r: number) => (ids.includes(x) ? [r] : []));
      return { items: rows.map((r: number) => traces.details(r)) };
    },
    [`traces/${traces.skeleton.traceId}/find`]: () => {
      const text = new URLSearchParams(asked.at(-1)!.split("?")[1]).get("q")!;
      if (text === "broken") throw new Error("away");
      const spanIds = traces.skeleton.spans.id.filter((_: string, r: number) =>
        traces
          .details(r)
          .attributes.some((a: { key: string; value: unknown }) => `${a.key}=${a.value}`.includes(text)),
      );
      return { count: spanIds.length, spanIds };
    },
    [`traces/${traces.skeleton.traceId}`]: traces.skeleton,
    status: status(undefined),
  });
  const page = show(<TracePage id={traces.skeleton.traceId} />, `/trace/${traces.skeleton.traceId}${query}`);
  return { asked, page };
}

const rows = () => screen.getAllByRole("row").filter((r) => r.hasAttribute("data-row"));
const key = (key: string, target: Element = document.activeElement ?? document.body) =>
  act(() => {
    fireEvent.keyDown(target, {
      key,
      code: /^[a-z]$/i.test(key) ? `Key${key.toUpperCase()}` : key,
      shiftKey: /^[A-Z]$/.test(key),
    });
  });

describe("the waterfall", () => {
  test("is a treegrid whose rows say where they stand", async () => {
    open();
    const grid = await screen.findByRole("treegrid");
    expect(Number(grid.getAttribute("aria-rowcount"))).toBeGreaterThan(10);
    const first = rows()[0]!;
    expect(first.getAttribute("aria-level")).toBe("1");
    expect(first.getAttribute("aria-rowindex")).toBe("2");
    expect(first.getAttribute("aria-expanded")).toBe("true");
    expect(first.getAttribute("aria-label")).toMatch(
      /^istio-ingressgateway\.istio-system .*, .* of .*, level 1 of \d+$/,
    );
    expect(rows().filter((r) => r.tabIndex === 0)).toHaveLength(1);
    for (const canvas of document.querySelectorAll("canvas"))
      expect(canvas.closest("[aria-hidden=true]")).toBeTruthy();
  });
  test("asks for the skeleton alone, and for details when a row is opened", async () => {
    const { asked } = open();
    await screen.findByRole("treegrid");
    expect(asked).toEqual([`traces/${id}`]);
    fireEvent.click(rows()[1]!);
    const panel = await screen.findByRole("complementary", { name: "Span details" });
    await within(panel).findByText("Duration");
    expect(asked.filter((a) => a.includes("/spans"))).toHaveLength(1);
    expect(location.search).toMatch(/^\?span=[0-9a-f]{16}$/);
  });
  test("50,000 spans: a few dozen rows and one request", async () => {
    const big = makeTrace({ seed: 42, spans: 50_000 });
    const { asked } = open("", big);
    await screen.findByRole("treegrid");
    expect(Number(screen.getByRole("treegrid").getAttribute("aria-rowcount"))).toBeGreaterThan(15_000);
    expect(rows().length).toBeLessThan(60);
    expect(asked).toHaveLength(1);
  });
  test("find asks names here and attributes of the server, once the typing rests", async () => {
    const { asked } = open("?hops=all");
    await screen.findByRole("treegrid");
    const carrying = skeleton.spans.id.filter((_: string, r: number) =>
      made
        .details(r)
        .attributes.some((a: { key: string; value: unknown }) =>
          `${a.key}=${a.value}`.includes("status_code=5"),
        ),
    ).length;
    expect(carrying).toBeGreaterThan(0);
    const field = screen.getByRole("searchbox", { name: "Find in trace" });
    for (const text of ["s", "status", "status_code=5"]) fireEvent.change(field, { target: { value: text } });
    expect(screen.getByText("no hit", { selector: "[class*=hits]" })).toBeTruthy();
    await screen.findByText(String(carrying), { selector: "[class*=hits]" });
    expect(asked.filter((a) => a.includes("/find"))).toEqual([`traces/${id}/find?q=status_code%3D5`]);
    fireEvent.change(field, { target: { value: "broken" } });
    await screen.findByText("names only");
  });
  test("keys move, fold, unfold and open; Escape leads back to the row", async () => {
    open();
    await screen.findByRole("treegrid");
    const count = rows().length;
    key("j", document.body);
    await waitFor(() => expect(document.activeElement).toBe(rows()[0]));
    key("ArrowDown");
    await waitFor(() => expect(document.activeElement).toBe(rows()[1]));
    key("ArrowLeft");
    await waitFor(() => expect(rows()[1]!.getAttribute("aria-expanded")).toBe("false"));
    expect(rows().length).toBeLessThan(count);
    key("ArrowRight");
    await waitFor(() => expect(rows().length).toBe(count));
    key("ArrowRight");
    await waitFor(() => expect(document.activeElement).toBe(rows()[2]));
    key("ArrowUp");
    await waitFor(() => expect(document.activeElement).toBe(rows()[1]));
    key("[");
    await waitFor(() => expect(rows()).toHaveLength(1));
    expect(location.search).toBe("?level=1");
    key("]", document.body);
    await waitFor(() => expect(rows().length).toBe(count));
    key("End", rows()[0]!);
    const last = document.activeElement;
    key("Enter");
    const panel = await screen.findByRole("complementary", { name: "Span details" });
    await waitFor(() => expect(document.activeElement).toBe(panel));
    key("Escape");
    await waitFor(() =>
      expect(document.activeElement?.getAttribute("data-row")).toBe(last?.getAttribute("data-row")),
    );
    key("Escape");
    await waitFor(() => expect(screen.queryByRole("complementary")).toBeNull());
  });
  test("hops: one row, all spans, no proxies", async () => {
    open();
    await screen.findByRole("treegrid");
    const count = () => Number(screen.getByRole("treegrid").getAttribute("aria-rowcount")) - 1;
    const folded = count();
    fireEvent.click(screen.getByRole("radio", { name: "All spans" }));
    await waitFor(() => expect(count()).toBe(skeleton.spans.id.length));
    expect(location.search).toBe("?hops=all");
    fireEvent.click(screen.getByRole("radio", { name: "No proxies" }));
    await waitFor(() => expect(count()).toBe(folded));
    fireEvent.click(screen.getByRole("radio", { name: "One row" }));
    fireEvent.click(screen.getAllByRole("button", { name: /^Show the 2 proxy spans/ })[0]!);
    await waitFor(() => expect(count()).toBe(folded + 2));
    expect(location.search).toMatch(/^\?hx=[0-9a-f]{16}$/);
  });
  test("everything seen comes back from the URL", async () => {
    const service = skeleton.services.find((s) => s?.name === "reviews")!;
    open(`?hops=all&hide=${service.name}&find=ratings&critical=1&level=4`);
    await screen.findByRole("treegrid");
    expect((screen.getByRole("radio", { name: "All spans" }) as HTMLInputElement).checked).toBe(true);
    expect(screen.getByRole("button", { name: "Critical path" }).getAttribute("aria-pressed")).toBe("true");
    expect((screen.getByRole("searchbox", { name: "Find in trace" }) as HTMLInputElement).value).toBe(
      "ratings",
    );
    expect(screen.getByRole("button", { name: /1 hidden/ })).toBeTruthy();
    for (const r of rows()) {
      expect(r.getAttribute("aria-label")).not.toMatch(/^reviews /);
      expect(Number(r.getAttribute("aria-level"))).toBeLessThanOrEqual(4);
    }
  });
  test("a link to a folded span opens what is above it", async () => {
    const deep = skeleton.spans.parent.findIndex(
      (_: number, r: number) => skeleton.spans.hop[r] === -1 && r > 8,
    );
    open(`?level=1&span=${skeleton.spans.id[deep]}`);
    await screen.findByRole("treegrid");
    await waitFor(() => expect(document.activeElement?.getAttribute("data-row")).toBe(String(deep)));
  });
  test("uiFind of Jaeger's links selects the span", async () => {
    open(`?uiFind=${skeleton.spans.id[0]}`);
    await screen.findByRole("complementary", { name: "Span details" });
    expect(location.search).toBe(`?span=${skeleton.spans.id[0]}`);
  });
  test("a parent that never arrived has a dashed row, warnings are in words", async () => {
    open("?level=2");
    await screen.findByRole("treegrid");
    expect(rows().some((r) => /^Parent that never arrived/.test(r.getAttribute("aria-label") ?? ""))).toBe(
      true,
    );
    fireEvent.click(screen.getByRole("button", { name: /warning/ }));
    await screen.findByText("A parent span never arrived.");
  });
});

describe("details", () => {
  const proxy = skeleton.spans.flags.findIndex(
    (f: number, r: number) => (f & 2) !== 0 && skeleton.spans.hop[r] >= 0,
  );
  test("group the attributes, say what the proxy means, filter and search", async () => {
    open(`?span=${skeleton.spans.id[proxy]}`);
    const panel = await screen.findByRole("complementary", { name: "Span details" });
    await within(panel).findByRole("heading", { name: "HTTP" });
    expect(within(panel).getByRole("heading", { name: "Mesh" })).toBeTruthy();
    expect(within(panel).getByText(/^Proxy \(sidecar\) of /)).toBeTruthy();
    const link = within(panel).getByRole("link", { name: "Search for traces with this http.method" });
    expect(link.getAttribute("href")).toContain("/search?q=span.http.method=GET");
    fireEvent.change(within(panel).getByRole("searchbox"), { target: { value: "istio.mesh" } });
    expect(within(panel).getByText("istio.mesh_id")).toBeTruthy();
    expect(within(panel).queryByText("http.method")).toBeNull();
    fireEvent.change(within(panel).getByRole("searchbox"), { target: { value: "zzz" } });
    expect(within(panel).getByText("No attribute contains “zzz”.")).toBeTruthy();
  });
  test("a failing details request fails the panel, not the page", async () => {
    fakeApi({
      [`traces/${id}/spans`]: () =>
        Response.json({ error: { kind: "internal", message: "boom" } }, { status: 500 }),
      [`traces/${id}`]: skeleton,
    });
    show(<TracePage id={id} />, `/trace/${id}?span=${skeleton.spans.id[0]}`);
    const panel = await screen.findByRole("complementary", { name: "Span details" });
    await within(panel).findByText("The server made a mistake.");
    expect(screen.getByRole("treegrid")).toBeTruthy();
  });
});

describe("no trace", () => {
  test("says why and since when", async () => {
    fakeApi({ status: status(String(BigInt(Date.now() - 60_000) * 1000000n)) });
    show(<TracePage id="abc" />, "/trace/abc");
    await screen.findByText("This trace is not here");
    await screen.findByText(/The last span arrived 1 minute ago/);
  });
  test("a text that is no id is no question to the server", () => {
    const asked = fakeApi({});
    show(<TracePage id="hello" />, "/trace/hello");
    expect(screen.getByText(/This is no trace id/)).toBeTruthy();
    expect(asked).toEqual([]);
  });
  test("a comparison made by Kiali leads to the comparison", () => {
    fakeApi({});
    show(<TracePage id="aa...bb" />, "/trace/aa...bb?cohort=aa");
    expect(location.pathname + location.search).toBe("/compare?a=aa&b=bb");
  });
});

test("a trace of which a part could not be read is shown, says so, and is asked for again", async () => {
  const reason = "some spans could not be read: clickhouse does not answer in full";
  let away = true;
  const asked = fakeApi({
    [`traces/${id}`]: () =>
      away
        ? {
            ...skeleton,
            complete: false,
            away: true,
            reason,
            warnings: [{ kind: "away", rows: [], count: 1, message: reason }],
          }
        : skeleton,
    status: status(undefined),
  });
  show(<TracePage id={id} />, `/trace/${id}`);
  const notice = await screen.findByText(en.state.partialAway(reason));
  expect(await screen.findByRole("treegrid")).toBeTruthy();
  away = false;
  const before = asked.filter((path) => path === `traces/${id}`).length;
  fireEvent.click(within(notice.closest("[role=status]")!).getByRole("button", { name: "Try again" }));
  await waitFor(() => expect(screen.queryByText(/answers in part only/)).toBeNull());
  expect(asked.filter((path) => path === `traces/${id}`).length).toBe(before + 1);
});
