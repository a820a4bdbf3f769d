import { fireEvent, screen, waitFor, within } from "@testing-library/react";
import { beforeEach, expect, test, vi } from "vitest";
import { fakeApi, show, status } from "../../test/render";
import { en } from "../i18n/en";
import MapPage from "./MapPage";

const figures = (rate: number, errorRate = 0) => ({
  calls: rate * 100,
  errors: rate * 100 * errorRate,
  n: rate * 100,
  rate,
  errorRate,
  p50: 1e6,
  p95: 9e6,
  p99: 20e6,
  estimated: false,
});
const node = (id: string, rate: number) => {
  const [kind, namespace, ...rest] = id.split("/");
  const service = rest.join("/");
  return {
    id,
    kind,
    namespace,
    service,
    services: [service],
    versions: [],
    badges: [],
    slot: 1,
    ...figures(rate),
  };
};
const edge = (from: string, to: string, rate: number, errorRate = 0) => ({
  from,
  to,
  class: "call",
  protocol: "http",
  protocols: ["http"],
  seen: "both",
  flags: [],
  ...figures(rate, errorRate),
});
const map = {
  nodes: [node("service/shop/web", 3), node("service/shop/api", 5), node("service/pay/<b>card</b>", 1)],
  edges: [
    edge("service/shop/web", "service/shop/api", 5),
    edge("service/shop/web", "service/pay/<b>card</b>", 1, 0.5),
  ],
  missing: [],
  notes: [],
  complete: true,
};
const nothing = {
  nodes: [],
  edges: [],
  missing: [],
  notes: [{ kind: "no_spans", message: "" }],
  complete: true,
};
const report = { state: "unknown", reason: "", findings: [], stations: [] };

beforeEach(() => vi.restoreAllMocks());

const firstCells = (table: HTMLElement) =>
  within(table)
    .getAllByRole("row")
    .slice(1)
    .map((r) =>
      within(r)
        .getAllByRole("cell")
        .slice(0, 2)
        .map((c) => c.textContent)
        .join(" > "),
    );

test("the table has every call and node, and sorts by what the URL says", async () => {
  fakeApi({ map, doctor: report, status: status(undefined) });
  show(<MapPage />, "/map?view=table");
  const [calls, nodes] = await screen.findAllByRole("table");
  expect(firstCells(calls!)).toEqual(["web > api", "web > <b>card</b>"]);
  expect(firstCells(nodes!)).toEqual(["api > shop", "web > shop", "<b>card</b> > pay"]);
  fireEvent.click(within(calls!).getByRole("button", { name: /Errors/ }));
  await waitFor(() => expect(location.search).toContain("sort=-errors"));
  expect(firstCells(screen.getAllByRole("table")[0]!)).toEqual(["web > <b>card</b>", "web > api"]);
});

test("a link to a node opens its panel, and Escape closes it", async () => {
  fakeApi({ map, doctor: report, status: status(undefined) });
  show(<MapPage />, "/map?view=table&node=service/shop/api");
  const panel = await screen.findByRole("complementary");
  expect(within(panel).getByRole("heading", { level: 2 }).textContent).toBe("api");
  expect(
    within(panel)
      .getAllByRole("button")
      .some((b) => b.textContent?.includes("web")),
  ).toBe(true);
  fireEvent.keyDown(document.body, { key: "Escape", code: "Escape" });
  await waitFor(() => expect(screen.queryByRole("complementary")).toBeNull());
  expect(location.search).not.toContain("node=");
});

test("an empty map says why, and offers a wider window and the doctor", async () => {
  fakeApi({ map: nothing, doctor: report, status: status(undefined) });
  show(<MapPage />, "/map?last=5m");
  expect(await screen.findByText(/Nothing was received in this window/)).toBeTruthy();
  fireEvent.click(screen.getByRole("button", { name: /Look at/ }));
  await waitFor(() => expect(location.search).toContain("last=15m"));
});

test("conditions that hide everything are one click to drop", async () => {
  fakeApi({ map, doctor: report, status: status(undefined) });
  show(<MapPage />, "/map?view=table&hide=kind=service");
  fireEvent.click(await screen.findByRole("button", { name: "Drop the conditions" }));
  expect(await screen.findAllByRole("table")).toHaveLength(2);
});

test("a server that refuses is said in words, with a way to try again", async () => {
  let fine = false;
  fakeApi({
    map: () =>
      fine
        ? map
        : Response.json({ error: { kind: "invalid", message: "no", hint: "ask better" } }, { status: 400 }),
    doctor: report,
    status: status(undefined),
  });
  show(<MapPage />, "/map?view=table");
  expect(await screen.findByText("ask better")).toBeTruthy();
  fine = true;
  fireEvent.click(screen.getByRole("button", { name: /Try again/ }));
  expect(await screen.findAllByRole("table")).toHaveLength(2);
});

test("a map that lacks spans says why and is not compared", async () => {
  const reason = "some spans could not be read: clickhouse does not answer in full";
  fakeApi({
    map: { ...map, complete: false, away: true, reason },
    doctor: report,
    status: status(undefined),
  });
  show(<MapPage />, "/map?view=table&compare=before");
  expect(await screen.findByText(en.state.partialAway(reason))).toBeTruthy();
  expect(await screen.findByText(/nothing is compared/)).toBeTruthy();
  expect(screen.getAllByRole("table")).toHaveLength(2);
});
