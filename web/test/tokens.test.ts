// @vitest-environment node
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { slots, slotVar } from "../src/model/colour";

const css = readFileSync(new URL("../src/tokens.css", import.meta.url), "utf8");

function themeOf(selector: string): Record<string, string> {
  const at = css.indexOf(`${selector} {`);
  const block = css.slice(at, css.indexOf("\n}", at));
  return Object.fromEntries([...block.matchAll(/--([\w-]+):\s*(#[0-9a-f]{6});/g)].map((m) => [m[1]!, m[2]!]));
}

const themes = { light: themeOf(":root"), dark: themeOf(':root[data-theme="dark"]') };

const channels = (hex: string) => [1, 3, 5].map((i) => Number.parseInt(hex.slice(i, i + 2), 16) / 255);

function hue(hex: string): number {
  const [r = 0, g = 0, b = 0] = channels(hex);
  const most = Math.max(r, g, b);
  const d = most - Math.min(r, g, b);
  const h = most === r ? ((g - b) / d) % 6 : most === g ? (b - r) / d + 2 : (r - g) / d + 4;
  return (h * 60 + 360) % 360;
}

function luminance(hex: string): number {
  const [r = 0, g = 0, b = 0] = channels(hex).map((v) =>
    v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4,
  );
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a: string, b: string): number {
  const [x, y] = [luminance(a), luminance(b)];
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
}

describe.each(Object.entries(themes))("%s theme", (_, t) => {
  test("service colours: twenty, all different, none red, all visible", () => {
    const colours = Array.from({ length: slots }, (_, i) => t[`svc-${i}`]!);
    expect(new Set(colours).size).toBe(slots);
    for (const c of colours) {
      expect(hue(c), c).toBeGreaterThan(25);
      expect(hue(c), c).toBeLessThan(345);
      for (const ground of [t["bg"]!, t["bg-sunken"]!])
        expect(contrast(c, ground), c).toBeGreaterThanOrEqual(3);
    }
  });
  test("text is readable on every ground it stands on", () => {
    for (const text of ["text", "text-2", "text-3", "accent", "error", "warn"]) {
      for (const ground of ["bg", "bg-sunken", "bg-raised", "bg-hover"]) {
        expect(contrast(t[text]!, t[ground]!), `${text} on ${ground}`).toBeGreaterThanOrEqual(4.5);
      }
    }
    for (const [text, ground] of [
      ["error", "error-bg"],
      ["warn", "warn-bg"],
      ["accent-strong", "accent-bg"],
      ["on-accent", "accent"],
      ["text", "bg-selected"],
      ["text-2", "bg-selected"],
      ["text", "hit"],
    ] as const) {
      expect(contrast(t[text]!, t[ground]!), `${text} on ${ground}`).toBeGreaterThanOrEqual(4.5);
    }
    expect(contrast(t["line-strong"]!, t["bg"]!)).toBeGreaterThanOrEqual(3);
  });
});

test("slots out of range still have a colour", () => {
  expect(slotVar(0)).toBe("var(--svc-0)");
  expect(slotVar(21)).toBe("var(--svc-1)");
  expect(slotVar(-1)).toBe("var(--svc-19)");
  expect(slotVar(Number.NaN)).toBe("var(--svc-0)");
});
