import { fireEvent, screen, waitFor, within } from "@testing-library/react";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { makeTrace, summaryOf } from "../../e2e/generate.mjs";
import { fakeApi, giveSizes, show, status } from "../../test/render";
import { Search } from "./Search";

const traces = [1, 2, 3].map((seed) => summaryOf(makeTrace({ seed })));
const page = { items: traces, complete: true, read: {} };
const recently = String(BigInt(Date.now() - 5000) * 1000000n);
const never = () => new Promise(() => {});

beforeEach(() => giveSizes());
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

const input = () => screen.getByRole("combobox", { name: "Add a filter" }) as HTMLInputElement;
const type = (text: string) => fireEvent.change(input(), { target: { value: text } });
const enter = (more: object = {}) => fireEvent.keyDown(input(), { key: "Enter", ...more });
const chips = () =>
  screen.queryAllByRole("button", { name: /^(Edit|TraceQL query) / }).map((b) => b.getAttribute("title"));
const searched = (asked: string[]) =>
  asked
    .filter((a) => a.startsWith("search/stream"))
    .map((a) => new URLSearchParams(a.split("?")[1]).getAll("filter"));

describe("filters", () => {
  test("what is typed is searched at once, while suggestions never come", async () => {
    const asked = fakeApi({
      search: page,
      services: never,
      "attributes/keys": never,
      status: status(recently),
    });
    show(<Search />, "/search");
    fireEvent.focus(input());
    type("service=reviews");
    enter();
    await waitFor(() => expect(searched(asked)).toContainEqual(["service=reviews"]));
    expect(chips()).toEqual(["service=reviews"]);
    expect(location.search).toBe("?q=service%3Dreviews".replace("%3D", "="));
    await screen.findAllByRole("row");
  });
  test("Enter that ends a Hangul composition does not search", async () => {
    const asked = fakeApi({ search: page, services: { items: [] } });
    show(<Search />, "/search");
    await waitFor(() => expect(searched(asked)).toHaveLength(1));
    type("operation=주문");
    enter({ isComposing: true });
    enter({ keyCode: 229 });
    expect(chips()).toEqual([]);
    enter();
    expect(chips()).toEqual(["operation=주문"]);
  });
  test("a bare word is part of an operation's name; a mistake is explained", () => {
    fakeApi({ search: page, services: { items: [] } });
    show(<Search />, "/search");
    type("checkout");
    enter();
    expect(chips()).toEqual(["operation=~.*checkout.*"]);
    type("duration>fast");
    enter();
    expect(screen.getByRole("alert").textContent).toContain("Durations need a unit");
    expect(input().getAttribute("aria-invalid")).toBe("true");
  });
  test("a pasted traceparent opens the trace, a request id searches for it", async () => {
    fakeApi({ search: page, services: { items: [] } });
    show(<Search />, "/search");
    type("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    enter();
    expect(location.pathname + location.search).toBe(
      "/trace/0af7651916cd43dd8448eb211c80319c?span=b7ad6b7169203331",
    );
    show(<Search />, "/search");
    const fields = screen.getAllByRole("combobox", { name: "Add a filter" });
    const last = fields[fields.length - 1]!;
    fireEvent.change(last, { target: { value: "0f6d3b1c-9b1f-4a53-9d0e-52f1a2b6c7d8" } });
    fireEvent.keyDown(last, { key: "Enter" });
    expect(location.search).toBe("?q=span.guid:x-request-id=0f6d3b1c-9b1f-4a53-9d0e-52f1a2b6c7d8&last=24h");
  });
  test("chips and TraceQL are two views of the same query", () => {
    fakeApi({ search: page, services: { items: [] }, traceql: { ok: true, kind: "spans" } });
    show(<Search />, "/search?q=service%3Da");
    fireEvent.click(screen.getByRole("button", { name: "TraceQL" }));
    // The plain line stands there until the editor is loaded.
    const text = () => screen.getByRole("textbox", { name: "Search as TraceQL" }) as HTMLInputElement;
    const search = (query: string) => {
      fireEvent.change(text(), { target: { value: query } });
      fireEvent.submit(text());
    };
    expect(text().value).toBe('{ resource.service.name = "a" }');
    search('{ resource.service.name = "b" && name = "GET /x" }');
    expect(chips()).toEqual(["service=b", 'operation="GET /x"']);
    expect(new URLSearchParams(location.search).get("q")).toBe('service=b operation="GET /x"');
    search("{ .a = 1 } | count() > 2");
    expect(chips()).toEqual(["{ .a = 1 } | count() > 2"]);
    expect(new URLSearchParams(location.search).get("q")).toBe("{ .a = 1 } | count() > 2");
    fireEvent.click(screen.getByRole("button", { name: "Remove TraceQL query" }));
    expect(chips()).toEqual([]);
    expect(text().value).toBe("{}");
    fireEvent.click(screen.getByRole("button", { name: "TraceQL" }));
  });
  test("TraceQL that is typed and not yet searched survives closing the editor", () => {
    fakeApi({ search: page, services: { items: [] }, traceql: { ok: true, kind: "spans" } });
    show(<Search />, "/search");
    const toggle = () => fireEvent.click(screen.getByRole("button", { name: "TraceQL" }));
    const text = () => screen.getByRole("textbox", { name: "Search as TraceQL" }) as HTMLInputElement;
    toggle();
    fireEvent.change(text(), { target: { value: "{ name = `주문" } });
    toggle();
    expect(screen.queryByRole("textbox", { name: "Search as TraceQL" })).toBeNull();
    toggle();
    expect(text().value).toBe("{ name = `주문");
    toggle();
  });
  test("TraceQL in the filter line is searched as TraceQL", async () => {
    const asked = fakeApi({ search: page, services: { items: [] }, traceql: { ok: true, kind: "search" } });
    show(<Search />, "/search");
    type("{ .a = 1 } > { .b = 2 }");
    enter();
    await waitFor(() => expect(asked.some((a) => a.startsWith("search/stream?q="))).toBe(true));
    expect(new URLSearchParams(location.search).get("q")).toBe("{ .a = 1 } > { .b = 2 }");
    fireEvent.click(screen.getByRole("button", { name: "TraceQL" }));
  });
  test("a query in the URL that does not parse is kept and explained", () => {
    fakeApi({ search: page, services: { items: [] } });
    show(<Search />, "/search?q=service%3Db+oops");
    expect(screen.getByRole("alert").textContent).toContain("oops");
    expect(chips()).toEqual(["service=b"]);
    expect((screen.getByRole("textbox", { name: "Filters as text" }) as HTMLInputElement).value).toBe(
      "service=b oops",
    );
  });
  test("suggestions lead from a field to its values", async () => {
    fakeApi({
      search: page,
      services: {
        items: [
          { name: "reviews", slot: 3 },
          { name: "ratings", slot: 4 },
        ],
      },
      "attributes/keys": { items: [] },
    });
    show(<Search />, "/search");
    fireEvent.focus(input());
    type("serv");
    const field = await screen.findByRole("option", { name: /^service/ });
    fireEvent.click(field);
    expect(input().value).toBe("service=");
    await screen.findByRole("option", { name: /service=ratings/ });
    type("service=rev");
    fireEvent.keyDown(input(), { key: "ArrowDown" });
    expect(input().getAttribute("aria-activedescendant")).toBeTruthy();
    enter();
    expect(chips()).toEqual(["service=reviews"]);
  });
});

describe("results", () => {
  test("rows read as sentences and lead to the trace", async () => {
    fakeApi({ search: page });
    show(<Search />, "/search");
    const link = await screen.findAllByRole("link", { name: /spans, \d+ errors?, / });
    expect(link).toHaveLength(3);
    expect(link[0]!.getAttribute("href")).toBe(`/trace/${traces[0]!.traceId}`);
  });
  test("older traces are loaded on demand", async () => {
    const asked = fakeApi({ search: { ...page, next: "token" } });
    show(<Search />, "/search");
    fireEvent.click(await screen.findByRole("button", { name: "Load older traces" }));
    await waitFor(() => expect(asked.some((a) => a.includes("page=token"))).toBe(true));
  });
  test("a partial answer says so and says why", async () => {
    fakeApi({
      search: { ...page, complete: false, reason: "search stopped at 10 s", read: { blocks: 42, of: 120 } },
    });
    show(<Search />, "/search");
    const notice = await screen.findByText(/search stopped at 10 s/);
    expect(notice.textContent).toContain("42 of 120 blocks read");
  });
});

describe("nothing found", () => {
  const empty = { items: [], complete: true, read: {} };
  test("because nothing ever arrived", async () => {
    fakeApi({ search: empty, status: status(undefined) });
    show(<Search />, "/search?q=service%3Da");
    await screen.findByText(/No span has arrived yet/);
  });
  test("because of the filters: each can be dropped with one click", async () => {
    const asked = fakeApi({ search: empty, status: status(recently) });
    show(<Search />, "/search?q=service%3Da+status%3Derror");
    fireEvent.click(await screen.findByRole("button", { name: "Without service=a" }));
    await waitFor(() => expect(searched(asked)).toContainEqual(["status=error"]));
  });
  test("because of the range: it can be widened", async () => {
    fakeApi({ search: empty, status: status(recently) });
    show(<Search />, "/search");
    await screen.findByText("No trace in this time range.");
    fireEvent.click(screen.getByRole("button", { name: "Look at: Last 6 hours" }));
    expect(location.search).toBe("?last=6h");
  });
  test("because the engine cannot: said by name, with a report to copy", async () => {
    fakeApi({
      search: () =>
        Response.json(
          { error: { kind: "unsupported", message: "no regular expressions", hint: "use =" } },
          { status: 501, headers: { "x-request-id": "r-7" } },
        ),
    });
    show(<Search />, "/search?q=operation%3D~x");
    const alert = await screen.findByRole("alert");
    expect(within(alert).getByText("This storage engine cannot answer one of the filters.")).toBeTruthy();
    expect(alert.textContent).toContain("use =");
    expect(alert.textContent).toContain("r-7");
    expect(within(alert).getByRole("button", { name: "Copy report" })).toBeTruthy();
  });
  test("because the page of results is too old: search again", async () => {
    let calls = 0;
    fakeApi({
      search: () =>
        ++calls === 1
          ? { ...page, next: "old" }
          : Response.json({ error: { kind: "expired", message: "too old" } }, { status: 410 }),
    });
    show(<Search />, "/search");
    fireEvent.click(await screen.findByRole("button", { name: "Load older traces" }));
    await screen.findByText(/This list is older than five minutes/);
    expect(screen.getAllByRole("link").length).toBeGreaterThan(2);
  });
});
