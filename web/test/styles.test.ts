// @vitest-environment node
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const src = fileURLToPath(new URL("../src", import.meta.url));
const files = readdirSync(src, { recursive: true, encoding: "utf8" });
const read = (name: string) => readFileSync(join(src, name), "utf8");
const views = files
  .filter((f) => f.endsWith(".tsx") && !f.includes(".test."))
  .map((f) => [f, read(f)] as const);

// A class that is misspelt is no error anywhere else: it is just not there.
test("every class a view names is in its style sheet", () => {
  for (const [file, text] of views) {
    const sheets = [...text.matchAll(/import (\w+) from "(\.[^"]+\.module\.css)"/g)].map(
      ([, name = "", path = ""]) => [name, readFileSync(join(src, file, "..", path), "utf8")] as const,
    );
    if (/\bcontrols\[/.test(text)) sheets.push(["controls", read("shell/controls.module.css")]);
    for (const [name, css] of sheets) {
      for (const [, used] of text.matchAll(new RegExp(`\\b${name}\\["(\\w+)"\\]`, "g"))) {
        expect(css, `${file}: ${name}["${used}"]`).toMatch(new RegExp(`\\.${used}\\b`));
      }
    }
  }
});

test("colours come from tokens.css alone", () => {
  for (const name of files.filter((f) => f.endsWith(".css") && f !== "tokens.css")) {
    expect(read(name).replace(/rgb\(10 14 20 \/ 40%\)/, ""), name).not.toMatch(
      /#[0-9a-f]{3,8}\b|\brgba?\(|\bhsl/i,
    );
  }
  for (const [file, text] of views) {
    expect(text, file).not.toMatch(/(fill|stroke|color|background)=?[:"{ ]+"?#[0-9a-f]{3,8}\b/i);
  }
});

test("no view sets a style sheet or a script of its own, which the content security policy would refuse", () => {
  for (const [file, text] of views)
    expect(text, file).not.toMatch(/^\s*<style|^\s*<script|dangerouslySetInnerHTML/m);
});
