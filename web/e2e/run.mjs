// Walks through the UI of a running Spanloom in a real browser:
//
//   node e2e/run.mjs --base http://127.0.0.1:16686/ --out e2e/out [--chromium /usr/bin/chromium]
//
// Visits overview, search, the first trace found and status in both languages and themes with a
// screenshot each, runs axe on every one (0 violations), walks search -> trace -> details -> back by
// keyboard alone, opens links made for Jaeger, and fails on any console error, failed request or
// violation of the content security policy. Exit code 0 is fine, 1 is a finding, 2 is a wrong call.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { AxeBuilder } from "@axe-core/playwright";
import { chromium } from "playwright-core";

const { values: args } = parseArgs({
  options: {
    base: { type: "string" },
    out: { type: "string", default: "e2e/out" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
  },
});
if (!args.base) {
  console.error("usage: node e2e/run.mjs --base URL --out DIR [--chromium PATH]");
  process.exit(2);
}
const base = args.base.endsWith("/") ? args.base : `${args.base}/`;
mkdirSync(args.out, { recursive: true });

const findings = [];
const note = (where, text) => {
  findings.push(`${where}: ${text}`);
  console.error(`  ✗ ${where}: ${text}`);
};

// How long a condition may take; slow machines set the factor higher.
const patience = 15_000 * Number(process.env.SPANLOOM_TEST_SLOW ?? 1);

const browser = await chromium.launch({
  executablePath: args.chromium,
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});

/** A page whose console, requests and policy violations are findings. `expected` are statuses that belong to the case. */
async function open(where, { theme = "light", language = "en", expected = [] } = {}) {
  const context = await browser.newContext({
    viewport: { width: 1400, height: 900 },
    colorScheme: theme,
    locale: language === "ko" ? "ko-KR" : "en-US",
  });
  await context.addInitScript(() => {
    addEventListener("securitypolicyviolation", (e) =>
      console.error(`CSP: ${e.violatedDirective} ${e.blockedURI}`),
    );
  });
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  page.on("console", (m) => {
    if (m.type() !== "error") return;
    if (expected.some((status) => m.text().includes(`status of ${status}`))) return;
    note(where, `console: ${m.text()}`);
  });
  page.on("pageerror", (e) => note(where, `uncaught: ${e.message}`));
  page.on("response", (r) => {
    if (r.status() >= 400 && !expected.includes(r.status())) note(where, `${r.status()} ${r.url()}`);
  });
  page.on("requestfailed", (r) => {
    // The page itself gives up requests it no longer needs.
    if (r.failure()?.errorText !== "net::ERR_ABORTED") note(where, `${r.failure()?.errorText} ${r.url()}`);
  });
  return { page, close: () => context.close() };
}

async function axe(page, where) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  for (const v of violations) {
    note(
      where,
      `axe ${v.id} (${v.impact}): ${v.help}: ${v.nodes
        .slice(0, 3)
        .map((n) => n.target.join(" "))
        .join(" | ")}`,
    );
  }
}

/** step runs a part; what it throws is a finding and the rest goes on. */
async function step(name, run) {
  console.log(name);
  try {
    await run();
  } catch (e) {
    note(name, String(e.message ?? e).split("\n")[0]);
  }
}

let traceId;
await step("find a trace", async () => {
  const { page, close } = await open("find a trace");
  await page.goto(`${base}search?last=24h`);
  const link = page.locator("a[data-row-link]").first();
  await link.waitFor();
  traceId = /\/trace\/([0-9a-f]+)/.exec(await link.getAttribute("href"))?.[1];
  if (!traceId) note("find a trace", "the first result is no link to a trace");
  await close();
});

const screens = [
  { name: "overview", path: "", ready: "table tbody tr, [role=status]" },
  { name: "search", path: "search?last=24h", ready: "[role=table] a[data-row-link]" },
  { name: "trace", path: () => `trace/${traceId}`, ready: "[role=treegrid] [data-row]" },
  { name: "details", path: () => `trace/${traceId}`, ready: "[role=treegrid] [data-row]", act: openDetails },
  { name: "status", path: "status", ready: "main table tbody tr" },
  { name: "not-found", path: "no/such/page", ready: "main h1" },
  {
    name: "no-trace",
    path: "trace/00000000000000000000000000000bad",
    ready: "main [role=status]",
    expected: [404],
  },
  { name: "keys", path: "", ready: "main h1", act: (page) => page.keyboard.press("?") },
];

async function openDetails(page) {
  // A span of a proxy has the most to show; its hop's row stands in for it.
  await page
    .locator("[role=treegrid] [data-row]")
    .nth(1)
    .or(page.locator("[role=treegrid] [data-row]").first())
    .last()
    .click();
  await page.locator("aside dl").first().waitFor();
}

for (const language of ["en", "ko"]) {
  for (const theme of ["light", "dark"]) {
    for (const screen of screens) {
      const where = `${screen.name} ${language} ${theme}`;
      await step(where, async () => {
        const path = typeof screen.path === "function" ? screen.path() : screen.path;
        const { page, close } = await open(where, { theme, language, expected: screen.expected });
        await page.goto(base + path);
        await page.locator(screen.ready).first().waitFor();
        await screen.act?.(page);
        await page.waitForLoadState("networkidle");
        await page.screenshot({ path: join(args.out, `${screen.name}-${language}-${theme}.png`) });
        await axe(page, where);
        const lang = await page.evaluate(() => document.documentElement.lang);
        if (lang !== language) note(where, `the page's language is ${lang}`);
        await close();
      });
    }
  }
}

await step("keyboard only: search, trace, details and back", async () => {
  const where = "keyboard";
  const { page, close } = await open(where);
  await page.goto(base);
  await page.locator("main h1").waitFor();
  await page.keyboard.press("g");
  await page.keyboard.press("s");
  await page.waitForURL(/\/search/);
  await page.keyboard.press("/");
  const input = page.locator("input[role=combobox]");
  await input.waitFor();
  if (!(await input.evaluate((e) => e === document.activeElement)))
    note(where, "/ does not focus the filter input");
  await page.keyboard.type("duration>0ms");
  await page.keyboard.press("Enter");
  await page.waitForURL(/q=duration/);
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  const searchUrl = page.url();
  await page.locator("a[data-row-link]").first().waitFor();
  await page.keyboard.press("j");
  await page.waitForFunction(() => document.activeElement?.matches("a[data-row-link]"));
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/trace\//);
  await page.locator("[role=treegrid] [data-row]").first().waitFor();
  await page.keyboard.press("j");
  await page.waitForFunction(() => document.activeElement?.matches("[role=treegrid] [data-row]"));
  const row = await page.evaluate(() => document.activeElement.getAttribute("data-row"));
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.activeElement?.matches("aside"));
  await page.locator("aside dl").first().waitFor();
  await page.screenshot({ path: join(args.out, "keyboard-details.png") });
  await page.keyboard.press("Escape");
  await page.waitForFunction((r) => document.activeElement?.getAttribute("data-row") === r, row);
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => !document.querySelector("aside"));
  await page.goBack();
  await page.waitForURL((url) => url.href === searchUrl);
  await page.locator("a[data-row-link]").first().waitFor();
  await close();
});

await step("links made for Jaeger", async () => {
  const where = "Jaeger links";
  const { page, close } = await open(where);
  const now = Date.now() * 1000;
  const tags = encodeURIComponent(JSON.stringify({ "http.status_code": "200" }));
  await page.goto(`${base}search?service=nobody&tags=${tags}&start=${now - 3600e6}&end=${now}&limit=50`);
  await page.waitForURL(/q=service%3Dnobody|q=service=nobody/);
  const chips = await page.locator("main ul li").allTextContents();
  if (chips.length !== 2) note(where, `expected two chips, got ${JSON.stringify(chips)}`);
  await page.goto(`${base}trace/${traceId}`);
  const first = page.locator("[role=treegrid] [data-row]").first();
  await first.click();
  await page.waitForURL(/span=/);
  const span = new URL(page.url()).searchParams.get("span");
  await page.goto(`${base}trace/${traceId}?uiFind=${span}`);
  await page.waitForURL(new RegExp(`span=${span}`));
  await page.locator("aside dl").first().waitFor();
  await page.goto(`${base}trace/${traceId}?uiEmbed=v0`);
  await page.locator("[role=treegrid] [data-row]").first().waitFor();
  if (await page.locator("nav").count()) note(where, "uiEmbed does not hide the header");
  await close();
});

await step("a trace id that is pasted opens the trace", async () => {
  const { page, close } = await open("paste");
  await page.goto(`${base}search`);
  await page
    .locator("input[role=combobox]")
    .fill(`traceparent: 00-${traceId.padStart(32, "0")}-00f067aa0ba902b7-01`);
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/trace\//);
  await close();
});

await browser.close();
if (findings.length) {
  console.error(`\n${findings.length} finding${findings.length === 1 ? "" : "s"}:`);
  for (const f of findings) console.error(`- ${f}`);
  process.exit(1);
}
console.log(`\nfine; screenshots are in ${args.out}`);
