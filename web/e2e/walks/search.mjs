// The search page: heatmap, differences, TraceQL editor, streams, saved searches; by mouse, by keyboard, with Hangul and hostile text.
import { readFileSync } from "node:fs";

const heat = "[role=application]";
const rows = "[role=table] a[data-row-link]";

export const screens = () => [
  {
    name: "search-heatmap",
    path: "search?last=24h",
    ready: `${heat} canvas`,
    act: async (page) => {
      await page.locator(heat).focus();
      await page.keyboard.press("ArrowRight");
      for (let i = 0; i < 6; i++) await page.keyboard.press("Shift+ArrowLeft");
      for (let i = 0; i < 3; i++) await page.keyboard.press("Shift+ArrowUp");
      await page.keyboard.press("Enter");
      await page.locator("[role=group] button").first().waitFor();
    },
  },
  {
    name: "search-table",
    path: "search?last=24h",
    ready: `${heat} canvas`,
    act: async (page) => {
      await page.locator("section:has(canvas) button").nth(2).click();
      await page.locator("section table tbody tr").first().waitFor();
    },
  },
  { name: "search-apart", path: "search?last=24h&apart=slow", ready: "aside ul li, aside [role=status]" },
  {
    name: "search-traceql",
    path: "search?last=24h&q=%7B+duration+%3E+1ms+%7C%7C+status+%3D+error+%7D",
    ready: rows,
    act: async (page) => {
      await openEditor(page);
      await page.locator("[data-editor] .cm-content").click();
      await page.keyboard.press("Control+a");
      await page.keyboard.type("{ staus = error }");
      await page.keyboard.press("Escape");
      await page.locator("form p", { hasText: "status" }).waitFor();
    },
  },
  {
    name: "search-saved",
    path: "search?last=24h&q=duration%3E1ms",
    ready: rows,
    act: async (page) => {
      await page.locator("main button[aria-haspopup=dialog]").nth(1).click();
      await page.locator("[role=dialog] form").waitFor();
    },
  },
  { name: "search-nothing", path: "search?q=service%3Dnobody", ready: "section [role=status] button" },
];

async function openEditor(page) {
  const toggle = page.locator("main button[aria-pressed]").first();
  if ((await toggle.getAttribute("aria-pressed")) === "false") await toggle.click();
  await page.locator("[data-editor] .cm-content").waitFor();
}

const queryOf = (page) => new URL(page.url()).searchParams.get("q") ?? "";

export async function walk({ base, note, open, step, screenshot }) {
  await step("heatmap: a drag filters time and duration", async () => {
    const where = "heatmap drag";
    const { page, close } = await open(where);
    await page.goto(`${base}search?last=24h`);
    await page.locator(`${heat} canvas`).waitFor();
    await page.locator(rows).first().waitFor();
    const box = await page.locator(heat).boundingBox();
    await page.mouse.move(box.x + box.width * 0.5, box.y + 20);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width - 10, box.y + box.height * 0.6, { steps: 4 });
    await page.mouse.up();
    await page.keyboard.press("Enter"); // the first action has the focus
    await page.waitForURL((url) => url.searchParams.has("from"));
    if (!/root=true/.test(queryOf(page)) || !/duration>=/.test(queryOf(page)))
      note(where, `the query is ${queryOf(page)}`);
    await page.goBack();
    await page.waitForURL((url) => !url.searchParams.has("from"));
    await close();
  });

  await step("only the slowest 1 %, and what sets slow ones apart, by keyboard alone", async () => {
    const where = "slow by keyboard";
    const { page, close } = await open(where);
    await page.goto(`${base}search?last=24h`);
    await page.locator(rows).first().waitFor();
    await page.locator(heat).focus();
    await page.keyboard.press("ArrowUp");
    await page.keyboard.press("Shift+PageUp");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement?.closest("[role=group]"));
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.waitForURL(/apart=\d/);
    await page.locator("aside ul li, aside [role=status]").first().waitFor();
    if (!(await page.evaluate(() => document.activeElement?.matches("aside"))))
      note(where, "the comparison does not get the focus");
    await screenshot(page, "apart-area");
    await page.keyboard.press("Escape");
    await page.waitForURL((url) => !url.searchParams.has("apart"));
    await page.locator("section:has(canvas) button").first().focus();
    await page.keyboard.press("Enter");
    await page.waitForURL(/duration%3E|duration>/);
    await page.locator(rows).first().waitFor();
    await close();
  });

  await step("TraceQL: typed by keyboard, completed, a mistake has its place, nothing is lost", async () => {
    const where = "TraceQL";
    const { page, close } = await open(where);
    await page.goto(`${base}search?last=24h`);
    await page.locator(rows).first().waitFor();
    await openEditor(page);
    const editor = page.locator("[data-editor] .cm-content");
    await editor.click();
    await page.keyboard.press("Control+a");
    await page.keyboard.type("{ sta");
    await page.locator("[data-editor] .cm-tooltip-autocomplete li").first().waitFor();
    await screenshot(page, "traceql-completion");
    await page.keyboard.press("Escape");
    // g, s and the other single keys are letters here.
    await page.keyboard.type("us = error && name != `g s j k`");
    if (!/\/search/.test(page.url())) note(where, "a shortcut fired while typing");
    const typed = await editor.textContent();
    const toggle = page.locator("main button[aria-pressed]").first();
    await toggle.click();
    await toggle.click();
    await editor.waitFor();
    if ((await editor.textContent()) !== typed) note(where, `the draft is ${await editor.textContent()}`);
    await editor.click();
    await page.keyboard.press("Control+a");
    await page.keyboard.type("{ staus = error }");
    await page.keyboard.press("Escape");
    await page.locator("[data-editor] .cm-mistake").waitFor();
    await editor.click();
    await page.keyboard.press("Control+a");
    await page.keyboard.type("{ duration > 1ms || status = error }");
    await page.keyboard.press("Escape");
    await editor.click();
    await page.keyboard.press("Enter");
    await page.waitForURL((url) => (url.searchParams.get("q") ?? "").includes("||"));
    await page.locator(rows).first().waitFor();
    await close();
  });

  await step("Hangul that is being composed neither searches nor fires shortcuts", async () => {
    const where = "Hangul";
    const { page, close } = await open(where, { language: "ko" });
    await page.goto(`${base}search`);
    const input = page.locator("input[role=combobox]");
    await input.fill("operation=주문");
    await input.evaluate((e) =>
      e.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", isComposing: true, bubbles: true })),
    );
    if (queryOf(page)) note(where, "Enter of the composition searched");
    await input.press("Enter");
    await page.waitForURL((url) => url.searchParams.get("q") === "operation=주문");
    // With Hangul input on, the key of g is ㅎ and of o is ㅐ.
    await page.evaluate(() => {
      document.activeElement?.blur();
      for (const [key, code] of [
        ["ㅎ", "KeyG"],
        ["ㅐ", "KeyO"],
      ])
        document.body.dispatchEvent(new KeyboardEvent("keydown", { key, code, bubbles: true }));
    });
    await page.waitForURL((url) => !url.pathname.endsWith("/search"));
    await close();
  });

  await step("hostile text is text", async () => {
    const where = "hostile";
    const { page, close } = await open(where);
    const hostile = 'operation="<img src=x onerror=alert(1)>\u202eabc\u0000\u{1f4a3}"';
    await page.goto(`${base}search?q=${encodeURIComponent(hostile)}&apart=failed`);
    await page.locator("main ul li").first().waitFor();
    if (await page.locator("main img").count()) note(where, "a chip became an element");
    const long = `span.a=${"x".repeat(6000)}`;
    await page.goto(`${base}search?q=${encodeURIComponent(long)}`);
    await page.locator("main ul li").first().waitFor();
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    if (wide) note(where, "a long value makes the page wider than the window");
    await close();
  });

  await step("a search is saved, found again in a fresh browser, and deleted", async () => {
    const where = "saved";
    const name = `walk ${Date.now()} <b>`;
    const { page, close } = await open(where);
    await page.goto(`${base}search?last=24h&q=duration%3E2ms`);
    await page.locator(rows).first().waitFor();
    const menu = page.locator("main button[aria-haspopup=dialog]").nth(1);
    await menu.click();
    await page.locator("[role=dialog] form input").fill(name);
    await page.keyboard.press("Enter");
    await page.locator("[role=dialog] li", { hasText: name }).waitFor();
    await close();
    const fresh = await open(where);
    await fresh.page.goto(`${base}search`);
    await fresh.page.locator("main button[aria-haspopup=dialog]").nth(1).click();
    const item = fresh.page.locator("[role=dialog] li", { hasText: name });
    await item.locator("button").first().click();
    await fresh.page.waitForURL((url) => url.searchParams.get("q") === "duration>2ms");
    await fresh.page.locator("main button[aria-haspopup=dialog]").nth(1).click();
    await item.locator("button").nth(1).click();
    await item.locator("button").nth(1).click();
    await item.waitFor({ state: "detached" });
    await fresh.close();
  });

  await step("the list is exported", async () => {
    const where = "export";
    const { page, close } = await open(where);
    await page.goto(`${base}search?last=24h`);
    await page.locator(rows).first().waitFor();
    for (const [nth, ending] of [
      [0, "json"],
      [1, "csv"],
    ]) {
      await page.locator("section button[aria-haspopup=dialog]").click();
      const [file] = await Promise.all([
        page.waitForEvent("download"),
        page.locator("[role=dialog] button").nth(nth).click(),
      ]);
      const text = readFileSync(await file.path(), "utf8");
      if (!file.suggestedFilename().endsWith(ending)) note(where, file.suggestedFilename());
      if (ending === "json" && !(JSON.parse(text).traces.length > 0))
        note(where, "no trace in the JSON file");
      if (ending === "csv" && text.split("\r\n").length < 3) note(where, "no trace in the CSV file");
    }
    await close();
  });
}
