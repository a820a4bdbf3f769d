// Overview, search, trace and status; a walk by keyboard alone; links made for Jaeger; a pasted header.
export const screens = ({ traceId }) => [
  { name: "overview", path: "", ready: "table tbody tr, [role=status]" },
  { name: "search", path: "search?last=24h", ready: "[role=table] a[data-row-link]" },
  { name: "trace", path: `trace/${traceId}`, ready: "[role=treegrid] [data-row]" },
  { name: "details", path: `trace/${traceId}`, ready: "[role=treegrid] [data-row]", act: openDetails },
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

export async function walk({ base, note, open, step, screenshot, traceId }) {
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
    await screenshot(page, "keyboard-details");
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
}
