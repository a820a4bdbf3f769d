// Walks through the UI of a running Spanloom in a real browser:
//
//   node e2e/run.mjs --base http://127.0.0.1:16686/ --out e2e/out [--chromium /usr/bin/chromium] [--only map] [--some]
//
// Each file of walks/ names screens and may bring a walk. Every screen is visited in both languages and themes (with
// --some in two of the four pairs), with a screenshot and axe (0 violations); a console error, a failed request or a
// violation of the content security policy is a finding. Exit code 0 is fine, 1 is a finding, 2 is a wrong call.
import { parseArgs } from "node:util";
import { makeKit } from "./kit.mjs";
import * as basics from "./walks/basics.mjs";
import * as compare from "./walks/compare.mjs";
import * as map from "./walks/map.mjs";
import * as mesh from "./walks/mesh.mjs";
import * as search from "./walks/search.mjs";
import * as slowest from "./walks/slowest.mjs";
import * as trace from "./walks/trace.mjs";

const all = { basics, search, trace, compare, map, mesh, slowest };

const { values: args } = parseArgs({
  options: {
    base: { type: "string" },
    out: { type: "string", default: "e2e/out" },
    only: { type: "string" }, // one file of walks, by its name
    some: { type: "boolean", default: false }, // each screen in English and light, and in Korean and dark
    chromium: { type: "string", default: "/usr/bin/chromium" },
  },
});
const walks = args.only ? [all[args.only]] : Object.values(all);
if (!args.base || walks.includes(undefined)) {
  console.error("usage: node e2e/run.mjs --base URL --out DIR [--chromium PATH] [--only WALKS] [--some]");
  process.exit(2);
}
const kit = await makeKit({
  base: args.base.endsWith("/") ? args.base : `${args.base}/`,
  out: args.out,
  executablePath: args.chromium,
});
const { base, note, open, axe, step, screenshot, findings } = kit;

for (const language of ["en", "ko"]) {
  for (const theme of args.some ? [language === "en" ? "light" : "dark"] : ["light", "dark"]) {
    for (const screen of walks.flatMap((w) => w.screens?.(kit) ?? [])) {
      const where = `${screen.name} ${language} ${theme}`;
      await step(where, async () => {
        const { page, close } = await open(where, { theme, language, expected: screen.expected });
        await page.goto(base + screen.path);
        await page.locator(screen.ready).first().waitFor();
        await screen.act?.(page);
        await page.waitForLoadState("networkidle");
        await screenshot(page, `${screen.name}-${language}-${theme}`);
        await axe(page, where);
        const lang = await page.evaluate(() => document.documentElement.lang);
        if (lang !== language) note(where, `the page's language is ${lang}`);
        await close();
      });
    }
  }
}

for (const w of walks) await w.walk?.(kit);

await kit.close();
if (findings.length) {
  console.error(`\n${findings.length} finding${findings.length === 1 ? "" : "s"}:`);
  for (const f of findings) console.error(`- ${f}`);
  process.exit(1);
}
console.log(`\nfine; screenshots are in ${args.out}`);
