// Opens maps of several sizes on the fixture server and measures them in the browser: layout in the worker, first picture, frames
// while it is dragged and zoomed, and that a refresh moves nothing. Times are printed for people and never judged; counts are.
//
//   node e2e/map-bench.mjs [--chromium /usr/bin/chromium] [--nodes 20,60,200]
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { startFixture } from "./fixture-server.mjs";
import { untilShown } from "./shown.mjs";

const { values: args } = parseArgs({
  options: {
    chromium: { type: "string", default: "/usr/bin/chromium" },
    nodes: { type: "string", default: "20,60,200" },
  },
});
const wrong = [];
const check = (what, got, most) => {
  if (!(got <= most)) wrong.push(`${what} is ${got}, at most ${most} wanted`);
};

for (const n of args.nodes.split(",").map(Number)) {
  // Large maps are folded at first sight; unfolded is what is hard.
  for (const fold of n > 60 ? ["auto", "none"] : ["auto"]) {
    const fixture = await startFixture({ mapNodes: n });
    const browser = await chromium.launch({
      executablePath: args.chromium,
      args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
    });
    const page = await (await browser.newContext({ viewport: { width: 1400, height: 900 } })).newPage();
    page.setDefaultTimeout(60_000 * Number(process.env.SPANLOOM_TEST_SLOW ?? 1));
    await page.goto(`${fixture.url}search`);
    await page.locator("main").waitFor();
    fixture.requests.length = 0;
    const total = await untilShown(page, "[data-node]", `map?last=1h&fold=${fold}`);
    const first = await page.evaluate(() => ({
      layout: performance.getEntriesByName("map layout")[0]?.detail ?? 0,
      drawn: document.querySelectorAll("[data-node]").length,
      edges: document.querySelectorAll("[data-edge]").length,
      elements: document.querySelectorAll("*").length,
    }));
    const asked = fixture.requests.filter((r) => r.startsWith("GET map")).length;
    check(`${n} nodes, ${fold}: requests for the map`, asked, 1);
    check(`${n} nodes, ${fold}: elements in the document`, first.elements, 400 + n * 60);

    const drag = await page.evaluate(async () => {
      const svg = document.querySelector("[data-keys=map]");
      const box = svg.getBoundingClientRect();
      const fire = (type, x, y) =>
        svg.dispatchEvent(
          new PointerEvent(type, { clientX: x, clientY: y, pointerId: 1, button: 0, bubbles: true }),
        );
      // A made-up pointer cannot be captured.
      svg.setPointerCapture = () => {};
      const times = [];
      const work = [];
      const [x, y] = [box.left + box.width / 2, box.top + 4];
      fire("pointerdown", x, y);
      let last = performance.now();
      for (let i = 0; i < 90; i++) {
        const begin = performance.now();
        fire("pointermove", x + 6 * i, y + 2 * i);
        work.push(performance.now() - begin);
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        times.push(now - last);
        last = now;
      }
      fire("pointerup", x, y);
      const at = (list, p) => list.sort((a, b) => a - b)[Math.floor(list.length * p)];
      return { p50: at(times, 0.5), p95: at(times, 0.95), work: at(work, 0.95) };
    });
    const zoom = await page.evaluate(async () => {
      const svg = document.querySelector("[data-keys=map]");
      const box = svg.getBoundingClientRect();
      const times = [];
      let last = performance.now();
      for (let i = 0; i < 60; i++) {
        svg.dispatchEvent(
          new WheelEvent("wheel", {
            deltaY: i % 20 < 10 ? -50 : 50,
            clientX: box.left + 500,
            clientY: box.top + 300,
            bubbles: true,
            cancelable: true,
          }),
        );
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        times.push(now - last);
        last = now;
      }
      times.sort((a, b) => a - b);
      return { p50: times[30], p95: times[57] };
    });

    const places = () =>
      page.evaluate(() =>
        [...document.querySelectorAll("[data-node]")]
          .map((e) => e.dataset.node + e.parentElement.getAttribute("transform"))
          .sort()
          .join("\n"),
      );
    const before = await places();
    const answered = page.waitForResponse((r) => r.url().includes("/map?"));
    await page.locator("main button:has(svg)").nth(1).click();
    await answered;
    await page.waitForLoadState("networkidle");
    if ((await places()) !== before) wrong.push(`${n} nodes, ${fold}: a refresh moved nodes`);

    const ms = (x) => `${x.toFixed(1)} ms`;
    console.log(
      `${n} nodes, ${fold === "none" ? "unfolded" : "as it opens"}: ${first.drawn} drawn, ${first.edges} edges, ${first.elements} elements; layout ${ms(first.layout)} in the worker, ${ms(total)} from click to picture; drag p50 ${ms(drag.p50)} p95 ${ms(drag.p95)} a frame, own work p95 ${ms(drag.work)}; zoom p50 ${ms(zoom.p50)} p95 ${ms(zoom.p95)}`,
    );
    await browser.close();
    await fixture.stop();
  }
}
if (wrong.length) {
  for (const w of wrong) console.error(`✗ ${w}`);
  process.exit(1);
}
console.log("counts are fine");
