import { fireEvent, screen, waitFor, within } from "@testing-library/react";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import recorded from "../../e2e/mesh-recorded.json";
import { type Answers, fakeApi, giveSizes, show, status } from "../../test/render";
import MeshPage from "./MeshPage";

beforeEach(() => giveSizes());
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

const problem = (status: number, error: Record<string, string>) => () => Response.json({ error }, { status });

function open(query: string, more: Answers = {}) {
  const asked = fakeApi({
    "mesh/render": recorded.render,
    "mesh/plan": recorded.plan,
    status: status(undefined),
    ...more,
  });
  show(<MeshPage />, `/mesh${query}`);
  return asked;
}
const plans = (asked: string[]) => asked.filter((a) => a.startsWith("mesh/plan"));

describe("the mesh screen", () => {
  test("the form stands in the address, asks once, and gives command, difference and YAML", async () => {
    const asked = open("?sampling=staging");
    await screen.findByText(recorded.render.command);
    await screen.findByText(recorded.plan.changes[0]!.object);
    expect(screen.getByText(/spanloom-configmap\.yaml/)).toBeTruthy();
    fireEvent.click(screen.getByRole("radio", { name: "Zipkin" }));
    expect(location.search).toContain("protocol=zipkin");
    await waitFor(() =>
      expect(asked.filter((a) => a.startsWith("mesh/render"))).toEqual([
        "mesh/render?sampling=staging",
        "mesh/render?protocol=zipkin&sampling=staging",
      ]),
    );
  });
  test("nothing to change is said", async () => {
    open("", { "mesh/plan": { ...recorded.plan, changes: [] } });
    await screen.findByText(/Nothing to change/);
  });
  test("without a cluster the command is there and the reason why there is no difference", async () => {
    open("", { "mesh/plan": problem(501, { kind: "unsupported", message: "no cluster" }) });
    await screen.findByText(/this server reads no cluster/);
    expect(screen.getByText(recorded.render.command)).toBeTruthy();
  });
  test("what the server refuses is kept, marked and named", async () => {
    open("?tags=broken", {
      "mesh/render": problem(400, {
        kind: "invalid",
        field: "tags",
        message: '"broken" is no tag',
        hint: "write NAME=VALUE",
      }),
    });
    await screen.findByText(/Mend what is marked in the form/);
    const tags = screen.getByDisplayValue("broken");
    expect(tags.getAttribute("aria-invalid")).toBe("true");
    expect(screen.getByText(/"broken" is no tag/)).toBeTruthy();
  });
  test("a rate of one's own is not asked for before it is typed", async () => {
    const asked = open("?sampling=custom");
    await screen.findByText(recorded.render.command);
    expect(asked.filter((a) => a.startsWith("mesh/render"))).toEqual(["mesh/render"]);
  });
  test("a comparison that fails leaves the last one in sight", async () => {
    let away = false;
    const asked = open("", {
      "mesh/plan": () => (away ? problem(503, { kind: "unavailable", message: "away" })() : recorded.plan),
    });
    await screen.findByText(recorded.plan.changes[0]!.object);
    away = true;
    const before = plans(asked).length;
    fireEvent.click(screen.getByRole("button", { name: "Compare again" }));
    const notice = await screen.findByRole("alert", {}, { timeout: 10_000 });
    expect(within(notice).getByText(/from the last answer/)).toBeTruthy();
    expect(plans(asked).length).toBeGreaterThan(before);
    expect(screen.getByText(recorded.plan.changes[0]!.object)).toBeTruthy();
  });
});
