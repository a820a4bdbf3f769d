// Opens traces of 5,000, 50,000 and 500,000 spans on the fixture server and counts what must stay small: requests, rows
// in the document, bytes. Times are printed for people and never judged.
//
//   node e2e/counts.mjs [--chromium /usr/bin/chromium]
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { chromium } from "playwright-core";
import { largeId, largeTraces, startFixture } from "./fixture-server.mjs";
import { untilShown } from "./shown.mjs";

const { values: args } = parseArgs({
  options: { chromium: { type: "string", default: "/usr/bin/chromium" } },
});
const fixture = await startFixture();
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
const page = await (await browser.newContext({ viewport: { width: 1400, height: 900 } })).newPage();
page.setDefaultTimeout(30_000 * Number(process.env.SPANLOOM_TEST_SLOW ?? 1));
const wrong = [];
const check = (what, got, most) => {
  console.log(`${what}: ${got} (at most ${most})`);
  if (!(got <= most)) wrong.push(`${what} is ${got}, at most ${most} wanted`);
};
const traceRequests = () => fixture.requests.filter((r) => r.includes("traces/"));
const rows = () => page.locator("[role=treegrid] [data-row]").count();

// The fixture makes a trace at the first request; that time is not the browser's.
for (const n of Object.keys(largeTraces))
  await fetch(`${fixture.url}api/spanloom/v1/traces/${largeId(n)}`).then((r) => r.arrayBuffer());
fixture.requests.length = 0;

// A browser that was never here.
await page.goto(fixture.url);
await page.locator("main h1, main h2, main table").first().waitFor();
await page.waitForLoadState("networkidle");
const paint = await page.evaluate(
  () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0,
);
console.log(`overview, cold cache: first paint ${paint.toFixed(0)} ms`);
const scripts = new Set(await loadedScripts());
await page.goto(`${fixture.url}search`);
await page.locator("a[data-row-link]").first().waitFor();
const painted = await page.evaluate(async () => {
  await new Promise(requestAnimationFrame);
  const [answer] = performance.getEntriesByType("resource").filter((e) => e.name.includes("/search"));
  return performance.now() - answer.responseEnd;
});
console.log(`search: ${painted.toFixed(0)} ms from the answer to the second frame with its rows`);
check("rows of the result list in the document", await page.locator("a[data-row-link]").count(), 60);
fixture.requests.length = 0;

/** The scripts that the page has loaded, by their paths in dist. */
function loadedScripts() {
  return page.evaluate(() =>
    performance
      .getEntriesByType("resource")
      .map((e) => new URL(e.name).pathname.slice(1))
      .filter((path) => path.endsWith(".js")),
  );
}

/** Opens a large trace from the search page, and tells how long it took, how large it was, and how long the page stood still. */
async function openLarge(spans, ready) {
  await page.evaluate(() => {
    performance.clearResourceTimings();
    globalThis.tasks = [];
    globalThis.watch ??= new PerformanceObserver((list) => {
      for (const e of list.getEntries()) globalThis.tasks.push(e.duration);
    });
    globalThis.watch.observe({ type: "longtask" });
  });
  const total = await untilShown(page, ready, `trace/${largeId(spans)}`);
  const opened = await page.evaluate(() => {
    const [skeleton] = performance.getEntriesByType("resource").filter((e) => e.name.includes("/traces/"));
    return {
      bytes: skeleton?.decodedBodySize ?? 0,
      // From the address to the last byte.
      came: skeleton ? skeleton.responseEnd - skeleton.startTime : 0,
      still: Math.max(0, ...globalThis.tasks),
    };
  });
  console.log(
    `${spans} spans, navigation to first rows painted: ${total.toFixed(0)} ms, of which ${opened.came.toFixed(0)} ms for the answer to come, longest task ${opened.still.toFixed(0)} ms, skeleton ${(opened.bytes / 1e6).toFixed(2)} MB`,
  );
  return opened;
}

const rowReady = "[role=treegrid] [data-row]";
const lineReady = "[role=table] [role=rowgroup] [role=cell]";
for (const path of await loadedScripts()) scripts.add(path);
await openLarge(5000, rowReady);
for (const path of await loadedScripts()) scripts.add(path);
const packed = [...scripts].reduce((sum, path) => sum + gzipSync(readFileSync(join("dist", path))).length, 0);
check("KiB of packed script for overview, search and trace", Math.round(packed / 1024), 200);
check("requests for 5,000 spans", traceRequests().length, 1);

// Half a million: its summary first, its waterfall folded.
fixture.requests.length = 0;
await page.goto(`${fixture.url}search`);
await page.locator("a[data-row-link]").first().waitFor();
fixture.requests.length = 0;
const half = await openLarge(500_000, lineReady);
check("requests for 500,000 spans", traceRequests().length, 1);
check("bytes of the skeleton of 500,000 spans", half.bytes, 60_000_000);
check("lines of the summary in the document", await page.locator(lineReady).count(), 600);
await page.evaluate(() => {
  globalThis.tasks.length = 0;
  performance.mark("waterfall");
  document.querySelector("input[name=view][value=waterfall]").click();
});
await page.locator(rowReady).first().waitFor();
const folded = await page.evaluate(() => ({
  time: performance.now() - performance.getEntriesByName("waterfall")[0].startTime,
  rows: Number(document.querySelector("[role=treegrid]").getAttribute("aria-rowcount")),
}));
console.log(`500,000 spans, summary to waterfall: ${folded.time.toFixed(0)} ms`);
check("rows of the folded waterfall of 500,000 spans", folded.rows, 20_000);
check("rows in the document", await rows(), 80);
const unfold = await page.evaluate(async () => {
  const row = document.querySelectorAll("[role=treegrid] [data-row][aria-expanded=false]")[0];
  if (!row) return 0;
  const begin = performance.now();
  row.querySelector("button").click();
  await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return performance.now() - begin;
});
console.log(`500,000 spans, one row unfolded, to the second frame: ${unfold.toFixed(0)} ms`);
for (const [view, ready] of [
  ["flame", "[role=application]"],
  ["table", lineReady],
]) {
  const begin = Date.now();
  await page.evaluate((v) => document.querySelector(`input[name=view][value=${v}]`).click(), view);
  await page.locator(ready).first().waitFor();
  console.log(`500,000 spans, view ${view}: ${Date.now() - begin} ms`);
}
check("requests for 500,000 spans after its views", traceRequests().length, 1);
const still = await page.evaluate(() => Math.max(0, ...globalThis.tasks));
console.log(`500,000 spans, longest task of the views: ${still.toFixed(0)} ms`);

await page.goto(`${fixture.url}search`);
await page.locator("a[data-row-link]").first().waitFor();
fixture.requests.length = 0;
const opened = await openLarge(50_000, rowReady);
check("requests for the trace", traceRequests().length, 1);
check("rows in the document", await rows(), 80);
check("elements in the document", await page.evaluate(() => document.querySelectorAll("*").length), 2500);
check("bytes of the skeleton", opened.bytes, 6_000_000);

const frames = await page.evaluate(async () => {
  const el = document.querySelector("[role=treegrid] [data-row]").parentElement.parentElement;
  const times = [];
  let last = performance.now();
  for (let i = 0; i < 120; i++) {
    el.scrollTop += 977;
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    times.push(now - last);
    last = now;
  }
  times.sort((a, b) => a - b);
  return { p50: times[60], p95: times[114], scrolled: el.scrollTop };
});
console.log(
  `scrolling 977 px a frame: p50 ${frames.p50.toFixed(1)} ms, p95 ${frames.p95.toFixed(1)} ms a frame`,
);
if (frames.scrolled < 100_000) wrong.push(`the rows do not scroll: ${frames.scrolled} px`);
check("rows in the document after scrolling", await rows(), 80);
check("requests for the trace after scrolling", traceRequests().length, 1);

const wheel = await page.evaluate(async () => {
  const el = document.querySelector("[role=treegrid] [data-row]").parentElement.parentElement;
  const box = el.getBoundingClientRect();
  const times = [];
  for (let i = 0; i < 60; i++) {
    const begin = performance.now();
    el.dispatchEvent(
      new WheelEvent("wheel", {
        deltaY: i % 2 ? 40 : -60,
        ctrlKey: true,
        clientX: box.left + 900,
        clientY: box.top + 100,
        bubbles: true,
        cancelable: true,
      }),
    );
    await new Promise(requestAnimationFrame);
    times.push(performance.now() - begin);
  }
  times.sort((a, b) => a - b);
  return { p50: times[30], p95: times[57] };
});
console.log(`zooming with the wheel: p50 ${wheel.p50.toFixed(1)} ms, p95 ${wheel.p95.toFixed(1)} ms a frame`);

await page.keyboard.press("f");
const find = await page.evaluate(async () => {
  const input = document.querySelector("[role=search] input");
  const begin = performance.now();
  const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
  set.call(input, "score");
  input.dispatchEvent(new Event("input", { bubbles: true }));
  await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return performance.now() - begin;
});
console.log(`find by name, to the second frame: ${find.toFixed(0)} ms`);
check("requests for the trace after find", traceRequests().length, 1);
await page.keyboard.press("Enter");
await page.waitForFunction(() => document.activeElement?.matches("[role=search] input, [data-row]"));

await page.keyboard.press("Escape");
await page.locator("[role=treegrid] [data-row]").nth(10).click();
await page.locator("aside dl").first().waitFor();
// The third is what the find asked of attributes when the typing rested.
check("requests for the trace after one span was opened", traceRequests().length, 3);
const rested = page.waitForRequest((r) => r.url().includes("/spans"));
for (let i = 0; i < 20; i++) await page.keyboard.press("j");
await rested;
await page.waitForLoadState("networkidle");
check("requests for the trace after 20 rows were walked with the panel open", traceRequests().length, 8);

await browser.close();
await fixture.stop();
if (wrong.length) {
  for (const w of wrong) console.error(`✗ ${w}`);
  process.exit(1);
}
console.log("counts are fine");
