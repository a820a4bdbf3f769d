import { render, screen } from "@testing-library/react";
import { expect, test } from "vitest";
import { ApiError } from "../api/client";
import { en } from "../i18n/en";
import { ErrorNotice } from "./states";

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
