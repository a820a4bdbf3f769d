// Opens a trace of 50,000 spans on the fixture server and counts what must stay small: requests, rows
// in the document, bytes. Times are printed for people and never judged.
//
//   node e2e/counts.mjs [--chromium /usr/bin/chromium]
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { bigTraceId, startFixture } from "./fixture-server.mjs";

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

// The fixture makes the trace at the first request; that time is not the browser's.
await fetch(`${fixture.url}api/spanloom/v1/traces/${bigTraceId}`).then((r) => r.arrayBuffer());
fixture.requests.length = 0;

await page.goto(`${fixture.url}search`);
await page.locator("a[data-row-link]").first().waitFor();
check("rows of the result list in the document", await page.locator("a[data-row-link]").count(), 60);
fixture.requests.length = 0;

await page.evaluate((id) => {
  performance.mark("open");
  history.pushState(null, "", new URL(`trace/${id}`, document.baseURI));
}, bigTraceId);
await page.locator("[role=treegrid] [data-row]").first().waitFor();
const opened = await page.evaluate(() => {
  const [skeleton] = performance.getEntriesByType("resource").filter((e) => e.name.includes("/traces/"));
  return {
    total: performance.now() - performance.getEntriesByName("open")[0].startTime,
    bytes: skeleton?.decodedBodySize ?? 0,
  };
});
console.log(
  `50,000 spans, navigation to first rows: ${opened.total.toFixed(0)} ms, skeleton ${(opened.bytes / 1e6).toFixed(2)} MB`,
);
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
check("requests for the trace after one span was opened", traceRequests().length, 2);
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
