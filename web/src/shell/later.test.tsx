import { act, cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, describe, expect, it, vi } from "vitest";
import { later } from "./later";
import { PanelBoundary } from "./states";

afterEach(cleanup);

const Page = ({ name }: { name: string }) => <p>page {name}</p>;

describe("code that is loaded later", () => {
  it("shows as soon as it is there, is loaded once, and gets its properties", async () => {
    const load = vi.fn(async () => ({ default: Page }));
    const Later = later(load, (p) => <p>waiting for {p.name}</p>);
    const { rerender } = render(<Later name="a" />);
    expect(screen.getByText("waiting for a")).toBeTruthy();
    await act(async () => {});
    expect(screen.getByText("page a")).toBeTruthy();
    rerender(<Later name="b" />);
    expect(screen.getByText("page b")).toBeTruthy();
    cleanup();
    render(<Later name="c" />);
    expect(screen.getByText("page c")).toBeTruthy();
    expect(load).toHaveBeenCalledTimes(1);
  });

  it("says in words that it did not come, and asks again", async () => {
    const quiet = vi.spyOn(console, "error").mockImplementation(() => {});
    const load = vi
      .fn(async () => ({ default: Page }))
      .mockRejectedValueOnce(new TypeError("Failed to fetch dynamically imported module"));
    const Later = later(load);
    render(
      <PanelBoundary>
        <Later name="a" />
      </PanelBoundary>,
    );
    await act(async () => {});
    expect(screen.getByRole("alert").textContent).toContain("code");
    expect(screen.getByRole("button", { name: "Reload the page" })).toBeTruthy();
    await act(async () => {
      fireEvent.click(screen.getByRole("button", { name: "Try again" }));
    });
    expect(screen.getByText("page a")).toBeTruthy();
    expect(load).toHaveBeenCalledTimes(2);
    quiet.mockRestore();
  });
});
