import { cleanup } from "@testing-library/react";
import { afterEach } from "vitest";

// Tests of files run in plain Node, without a document.
if (typeof document !== "undefined") {
  const { loadLanguage } = await import("../src/i18n");
  await loadLanguage("en");
  await loadLanguage("ko");
  afterEach(() => {
    cleanup();
    localStorage.clear();
    sessionStorage.clear();
  });
}
