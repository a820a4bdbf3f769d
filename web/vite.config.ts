import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";
import { npmPackages } from "./build/licences";

export default defineConfig({
  plugins: [react(), npmPackages()],
  // Relative, so that one build runs under any base path; the server writes <base href>.
  base: "./",
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // the content security policy allows no data: scripts or styles
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  worker: { format: "es" },
  server: { proxy: { "/api": process.env["SPANLOOM_URL"] ?? "http://127.0.0.1:16686" } },
  test: {
    environment: "happy-dom",
    include: ["src/**/*.test.{ts,tsx}", "test/**/*.test.{ts,tsx}"],
    setupFiles: ["test/setup.ts"],
    testTimeout: 20_000 * Number(process.env.SPANLOOM_TEST_SLOW ?? 1),
    env: { DEBUG_PRINT_LIMIT: "0" },
    css: { modules: { classNameStrategy: "non-scoped" } },
  },
});
