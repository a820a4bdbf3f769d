// Map, service and doctor: every screen, a walk by keyboard alone, links that land here, and names that try to break the page.
const nodes = "[data-keys=map] [data-node]";

export const screens = () => [
  { name: "map", path: "map?last=24h", ready: nodes },
  { name: "map-edge", path: "map?last=24h", ready: nodes, act: openEdge },
  { name: "map-folded", path: "map?last=24h&fold=all", ready: nodes, act: openGroup },
  { name: "map-compare", path: "map?last=15m&compare=before&node=client//", ready: nodes },
  {
    name: "map-proxies",
    path: "map?last=24h&proxies=true",
    ready: `${nodes}[data-kind=proxy]`,
    act: openProxyCall,
  },
  { name: "map-table", path: "map?last=24h&view=table", ready: "main table tbody tr" },
  { name: "map-legend", path: "map?last=24h", ready: nodes, act: openLegend },
  {
    name: "map-empty",
    path: "map?from=2020-01-01T00:00:00Z&to=2020-01-01T01:00:00Z",
    ready: "main [role=status] button, main [role=status] a",
  },
  { name: "service", path: "map?last=24h", ready: nodes, act: openService },
  {
    name: "service-gone",
    path: "service/no/such?last=5m",
    ready: "main [role=status] a",
    expected: [404],
  },
  { name: "doctor", path: "doctor?last=24h", ready: "main h2" },
];

const service = (page) => page.locator(`${nodes}[data-kind=service]`);

async function openEdge(page) {
  await service(page).first().dispatchEvent("click");
  await page.locator("aside li button").first().click();
  await page.locator("aside canvas").nth(1).waitFor();
}

/** A call between two sidecars has the charts and examples of the call between their workloads. */
async function openProxyCall(page) {
  await page.locator(`${nodes}[data-kind=proxy]`).first().dispatchEvent("click");
  await page.locator("aside a[href*='/service/']").waitFor();
  await page.locator("aside li button").last().click();
  await page.waitForURL(/caller=proxy/);
  await page.locator("aside canvas").nth(1).waitFor();
}

async function openGroup(page) {
  // Where no namespace has two nodes there is nothing to fold.
  const group = page.locator(`${nodes}[data-kind=group]`).first();
  if ((await group.count()) === 0) return;
  await group.dispatchEvent("click");
  await page.locator("aside section").first().waitFor();
  await group.dispatchEvent("dblclick");
  await page.waitForURL(/open=/);
}

async function openLegend(page) {
  await page.locator("[role=toolbar] button[aria-haspopup=dialog]").last().click();
  await page.locator("[role=dialog] svg").first().waitFor();
}

async function openService(page) {
  await service(page).first().dispatchEvent("click");
  await page.locator("aside a[href*='/service/']").click();
  await page.locator("main canvas").nth(1).waitFor();
}

export async function walk({ base, note, open, axe, step, screenshot }) {
  const focused = (page, test) => page.waitForFunction((t) => document.activeElement?.matches(t), test);

  await step("keyboard only: map, node, call, table, doctor", async () => {
    const where = "map keyboard";
    const { page, close } = await open(where);
    await page.goto(base);
    await page.locator("main h1").waitFor();
    await page.keyboard.press("g");
    await page.keyboard.press("m");
    await page.waitForURL(/\/map/);
    await page.locator(nodes).first().waitFor();
    await page.keyboard.press("ArrowRight");
    await focused(page, "[data-node]");
    const first = await page.evaluate(() => document.activeElement.dataset.node);
    await page.keyboard.press("ArrowRight");
    await page.waitForFunction((id) => document.activeElement?.dataset?.node !== id, first);
    await page.keyboard.press("ArrowRight");
    const second = await page.evaluate(() => document.activeElement.dataset.node);
    await page.keyboard.press("Enter");
    await focused(page, "aside");
    if (!new URL(page.url()).searchParams.get("node")) note(where, "Enter does not select the node");
    // The calls of the node are buttons of its panel.
    for (let i = 0; i < 30; i++) {
      await page.keyboard.press("Tab");
      if (await page.evaluate(() => document.activeElement?.matches("aside li button"))) break;
    }
    await page.keyboard.press("Enter");
    await page.waitForURL(/caller=.*callee=/);
    await page.locator("aside canvas").nth(1).waitFor();
    await screenshot(page, "map-keyboard-edge");
    await page.keyboard.press("Escape");
    await page.waitForFunction(() => !document.querySelector("aside"));
    await focused(page, "[data-node]");
    const back = await page.evaluate(() => document.activeElement.dataset.node);
    if (back !== second) note(where, `Escape gives the focus to ${back}, not to ${second}`);
    await page.keyboard.press("f");
    await page.waitForURL(/focus=/);
    await page.keyboard.press("Escape");
    await page.keyboard.press("v");
    await page.waitForURL(/view=table/);
    await page.locator("main table tbody tr").first().waitFor();
    await page.keyboard.press("j");
    await focused(page, "a[data-row-link]");
    await page.keyboard.press("Enter");
    await page.waitForURL(/caller=/);
    await page.locator("aside h2").waitFor();
    await page.keyboard.press("g");
    await page.keyboard.press("d");
    await page.waitForURL(/\/doctor/);
    await page.locator("main h2").first().waitFor();
    await close();
  });

  await step("Hangul input does not stop the map's keys", async () => {
    const { page, close } = await open("map Hangul");
    await page.goto(`${base}map?last=24h`);
    await page.locator(nodes).first().waitFor();
    await page.evaluate(() =>
      document.body.dispatchEvent(
        new KeyboardEvent("keydown", { key: "ㅍ", code: "KeyV", bubbles: true, cancelable: true }),
      ),
    );
    await page.waitForURL(/view=table/);
    await close();
  });

  await step("links to the map land, and what is seen is in the URL", async () => {
    const where = "map links";
    const { page, close } = await open(where);
    await page.goto(`${base}dependencies`);
    await page.waitForURL(/\/map/);
    await page.goto(`${base}map?last=24h&uiEmbed=v0`);
    await page.locator(nodes).first().waitFor();
    if (await page.locator("nav").count()) note(where, "uiEmbed does not hide the header");
    await page.goto(`${base}map?last=24h`);
    await openEdge(page);
    const url = page.url();
    const title = await page.locator("aside h2").textContent();
    const fresh = await open(where);
    await fresh.page.goto(url);
    await fresh.page.locator("aside h2").waitFor();
    const again = await fresh.page.locator("aside h2").textContent();
    if (again !== title) note(where, `the link shows ${again}, not ${title}`);
    await fresh.close();
    await close();
  });

  await step("a refresh moves nothing", async () => {
    const where = "map refresh";
    const { page, close } = await open(where);
    await page.goto(`${base}map?last=24h`);
    await page.locator(nodes).first().waitFor();
    const places = async () =>
      new Map(
        await page.evaluate(() =>
          [...document.querySelectorAll("[data-keys=map] [data-node]")].map((e) => [
            e.dataset.node,
            e.parentElement.getAttribute("transform"),
          ]),
        ),
      );
    const before = await places();
    const asked = page.waitForResponse((r) => r.url().includes("/map?"));
    await page.locator("main button:has(svg)").nth(1).click();
    await asked;
    await page.waitForLoadState("networkidle");
    const after = await places();
    for (const id of new Set([...before.keys(), ...after.keys()])) {
      const [was, is] = [before.get(id), after.get(id)];
      // Traffic goes on: a call whose other side has not come yet is one to an address, until it does.
      if (was !== is && !(id.startsWith("external//") && (was === undefined || is === undefined)))
        note(where, `${id} moved from ${was} to ${is}`);
    }
    await close();
  });

  await step("conditions: a bad amount is explained, a good one is a chip", async () => {
    const where = "map chips";
    const { page, close } = await open(where);
    await page.goto(`${base}map?last=24h`);
    await page.locator(nodes).first().waitFor();
    await page.locator("[role=toolbar] button[aria-haspopup=dialog]").first().click();
    await page.locator("[role=dialog] input").fill("many");
    await page.keyboard.press("Enter");
    await page.locator("[role=dialog] [role=alert]").waitFor();
    await axe(page, where);
    await page.locator("[role=dialog] input").fill("1 %");
    await page.keyboard.press("Enter");
    await page.waitForURL(/find=errors/);
    await close();
  });

  await step("names are text, whatever they are", async () => {
    const where = "map hostile";
    for (const path of ["map?last=24h&fold=none", "map?last=24h&view=table", "doctor?last=24h"]) {
      const { page, close } = await open(where);
      await page.goto(base + path);
      await page.locator(`${nodes}, main table tbody tr, main details`).first().waitFor();
      await page.waitForLoadState("networkidle");
      if (await page.evaluate(() => window.hacked)) note(where, `a name ran as script on ${path}`);
      const images = await page.locator("main img, main script, main iframe").count();
      if (images) note(where, `a name became ${images} elements on ${path}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (wide > 0) note(where, `${path} is ${wide} px too wide`);
      await close();
    }
    const odd = await open(where);
    await odd.page.goto(`${base}map?last=24h&fold=none`);
    await odd.page.locator(nodes).first().waitFor();
    const hostile = odd.page.locator(`${nodes}[data-node*="a/b%2F"]`);
    if (await hostile.count()) {
      await hostile.dispatchEvent("click");
      await odd.page.locator("aside a[href*='/service/']").click();
      await odd.page.waitForURL(/\/service\//);
      await odd.page.locator("main canvas").first().waitFor();
      await odd.page.reload();
      await odd.page.locator("main canvas").first().waitFor();
      const before = new URL(odd.page.url()).pathname;
      await odd.page.locator("main button").first().click();
      await odd.page.locator("[role=dialog] li button").nth(1).click();
      await odd.page.waitForURL(/last=15m/);
      await odd.page.locator("main canvas").first().waitFor();
      if (new URL(odd.page.url()).pathname !== before) note(where, "another range is another service");
    }
    await odd.close();
  });

  await step("a facts file that is none is refused in words", async () => {
    const where = "doctor facts";
    const { page, close } = await open(where, { expected: [400, 413, 415, 422, 404, 405] });
    await page.goto(`${base}doctor`);
    await page.locator("main h2").first().waitFor();
    await page.locator("input[type=file]").setInputFiles({
      name: "facts.json",
      mimeType: "application/json",
      buffer: Buffer.from("this is not JSON"),
    });
    // The fixture answers a report whatever it is sent; the real server refuses.
    await page.locator("main [role=alert], main [role=status]").first().waitFor();
    await screenshot(page, "doctor-facts");
    await close();
  });
}
