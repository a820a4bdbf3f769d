import { cleanup } from "@testing-library/react";
import { afterEach } from "vitest";

// Tests of files run in plain Node, without a document.
if (typeof document !== "undefined") {
  afterEach(() => {
    cleanup();
    localStorage.clear();
    sessionStorage.clear();
  });
}
