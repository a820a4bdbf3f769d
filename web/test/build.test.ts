// @vitest-environment node
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
let out = "";
let page = "";

beforeAll(async () => {
  out = mkdtempSync(join(tmpdir(), "spanloom-web-"));
  // The tests' own mode would build React's development version.
  const before = process.env["NODE_ENV"];
  process.env["NODE_ENV"] = "production";
  await build({ root, mode: "production", logLevel: "error", build: { outDir: out, emptyOutDir: true } });
  process.env["NODE_ENV"] = before;
  page = readFileSync(join(out, "index.html"), "utf8");
}, 120_000);

afterAll(() => rmSync(out, { recursive: true, force: true }));

describe("the build", () => {
  test("first load is under 200 KiB of JavaScript, packed", () => {
    const scripts = [...page.matchAll(/(?:src|href)="\.\/([^"]+\.js)"/g)].map((m) => m[1]!);
    expect(scripts).toContain("theme.js");
    // Texts come with a request of their own, those of one language; the larger one counts.
    const sizes = readdirSync(join(out, "assets"))
      .filter((name) => /^(en|ko)-.*\.js$/.test(name))
      .map((name) => [`assets/${name}`, readFileSync(join(out, "assets", name)).length] as const)
      .sort((a, b) => b[1] - a[1]);
    expect(sizes).toHaveLength(2);
    scripts.push(sizes[0]![0]);
    const bytes = scripts.reduce(
      (sum, s) => sum + gzipSync(readFileSync(join(out, s)), { level: 9 }).length,
      0,
    );
    console.log(
      `first load: ${(bytes / 1024).toFixed(1)} KiB of JavaScript, gzip, in ${scripts.length} files`,
    );
    expect(bytes).toBeLessThan(200 * 1024);
  });
  test("every address is relative, so that it runs under any base path", () => {
    for (const [, address] of page.matchAll(/(?:src|href)="([^"]+)"/g)) {
      if (address !== "/") expect(address).toMatch(/^\.\//);
    }
    expect(page).toContain('<base href="/">');
  });
  test("the page needs no inline script or style", () => {
    for (const [, attributes = "", body = ""] of page.matchAll(/<script([^>]*)>([^<]*)<\/script>/g)) {
      if (!attributes.includes('type="text/plain"')) expect(body.trim()).toBe("");
    }
    expect(page).not.toMatch(/<style|style=|\son\w+=/);
  });
  test("Kiali's marker is there, ready to be filled in", () => {
    expect(page).toContain('const JAEGER_VERSION = {"gitVersion":"","gitCommit":"","buildDate":""};');
  });
  test("nothing asks another host", () => {
    for (const name of readdirSync(join(out, "assets"))) {
      const text = readFileSync(join(out, "assets", name), "utf8");
      const hosts = [...text.matchAll(/https?:\/\/([a-z0-9.-]+)/g)].map((m) => m[1]!);
      for (const host of hosts)
        expect(["www.w3.org", "react.dev", "radix-ui.com", "www.radix-ui.com"], name).toContain(host);
    }
  });
});

describe("dependencies", () => {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const text = readFileSync(join(root, "package-lock.json"), "utf8");
  const lock = JSON.parse(text) as {
    packages: Record<string, { license?: string; resolved?: string; dev?: boolean }>;
  };
  test("are pinned", () => {
    for (const [name, version] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })) {
      expect(version, name).toMatch(/^\d+\.\d+\.\d+$/);
    }
  });
  test("the lock file names no registry", () => {
    for (const [name, p] of Object.entries(lock.packages)) expect(p.resolved, name).toBeUndefined();
    expect(text).not.toMatch(/registry\.|\.tgz/);
  });
  test("have licences that may be shipped", () => {
    const fine =
      /^(MIT|MIT-0|Apache-2\.0|ISC|BSD-2-Clause|BSD-3-Clause|0BSD|MPL-2\.0|Unlicense|CC0-1\.0|BlueOak-1\.0\.0|CC-BY-4\.0|Python-2\.0)$/;
    for (const [name, p] of Object.entries(lock.packages)) {
      if (name === "") continue;
      const choices = (p.license ?? "none").replace(/[()]/g, "").split(" OR ");
      expect(
        choices.some((c) => fine.test(c)),
        `${name}: ${p.license}`,
      ).toBe(true);
    }
  });
});
