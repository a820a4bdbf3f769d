import { fireEvent, render, screen } from "@testing-library/react";
import { afterEach, expect, test, vi } from "vitest";
import { ApiError } from "../api/client";
import { en } from "../i18n/en";
import { ko } from "../i18n/ko";
import { prefs } from "./prefs";
import { ErrorNotice, PartialNotice } from "./states";

afterEach(() => prefs.change({ language: undefined }));

const tried = "GET api/spanloom/v1/map";

test("a store that is away is no busy server", () => {
  for (const [status, title] of [
    [429, en.error.overloaded],
    [503, en.error.unavailable],
  ] as const) {
    const error = new ApiError({ kind: "overloaded", message: "no", status, tried });
    const { unmount } = render(<ErrorNotice error={error} onRetry={() => {}} />);
    expect(screen.getByText(title)).toBeTruthy();
    unmount();
  }
});

const reason = "some spans could not be read: clickhouse was not reached yet";

test.each(["en", "ko"] as const)(
  "an answer that lacks spans says so and can be asked again: %s",
  (language) => {
    const dict = { en, ko }[language];
    const retry = vi.fn();
    prefs.change({ language });
    render(<PartialNotice complete={false} reason={reason} onRetry={retry} />);
    expect(screen.getByRole("status").textContent).toContain(dict.state.partialReason(reason));
    fireEvent.click(screen.getByRole("button", { name: dict.state.retry }));
    expect(retry).toHaveBeenCalledOnce();
  },
);

test.each(["en", "ko"] as const)(
  "that the store is away is said in the reader's language: %s",
  (language) => {
    prefs.change({ language });
    render(<PartialNotice complete={false} away={true} reason={reason} />);
    expect(screen.getByRole("status").textContent).toContain({ en, ko }[language].state.partialAway(reason));
  },
);

test("a whole answer and one that is not there yet have no notice", () => {
  render(<PartialNotice complete={true} reason={reason} />);
  render(<PartialNotice complete={undefined} reason={reason} />);
  expect(screen.queryByRole("status")).toBeNull();
});
