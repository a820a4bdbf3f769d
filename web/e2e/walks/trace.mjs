// The views of a trace, files, and what is hostile: walked with the keyboard where a person could.
import { readFileSync } from "node:fs";
import { hostileTraces } from "../hostile.mjs";

const view = (name, ready, traceId, more = "") => ({
  name: `trace-${name}${more ? "-more" : ""}`,
  path: `trace/${traceId}?view=${name}${more}`,
  ready,
});

export const screens = ({ traceId }) => [
  view("flame", "[role=application]", traceId),
  view("flame", "[role=application]", traceId, "&flame=time"),
  view("table", "[role=table] [role=row]", traceId),
  view("table", "[role=table] [role=row]", traceId, "&by=service"),
  view("hops", "ol li", traceId),
  view("json", "[role=group] code", traceId),
  { name: "trace-critical", path: `trace/${traceId}?critical=1`, ready: "[role=treegrid] [data-row]" },
  { name: "logs-dialog", path: `trace/${traceId}`, ready: "[role=treegrid] [data-row]", act: openLogs },
  { name: "file", path: "file", ready: "main input[type=file]" },
  { name: "help", path: "help#hop", ready: "#hop" },
  { name: "licences", path: "status", ready: "main h1", act: showLicences },
];

async function openLogs(page) {
  await page.locator("[role=treegrid] [data-row]").first().click();
  // The last button of the section on logs.
  const section = page
    .locator("aside section")
    .filter({ has: page.locator("h3", { hasText: /^(Logs|로그)$/ }) });
  await section.locator("button").click();
  await page.locator("dialog form").waitFor();
  await page.locator("dialog form p button").nth(1).click();
  await page.locator("dialog textarea").first().waitFor();
}

async function showLicences(page) {
  await page.locator("section[aria-labelledby=licences] button").click();
  await page.locator("section[aria-labelledby=licences] td").first().waitFor();
}

/** What a reader sees of a trace, for comparing two views of it. */
const seen = (page) =>
  page.evaluate(() => ({
    rows: [...document.querySelectorAll("[data-row]")].map((r) => r.getAttribute("aria-label")),
    details: document.querySelector("aside h2")?.textContent,
    pressed: [...document.querySelectorAll("main [aria-pressed=true]")].map((b) => b.textContent),
  }));

export async function walk(kit) {
  const { base, note, open, step, screenshot, traceId, axe } = kit;

  await step("every view by key, one request for each that needs one", async () => {
    const where = "views";
    const { page, close } = await open(where);
    const asked = [];
    page.on("request", (r) => {
      const path = r.url().split("/api/spanloom/v1/")[1];
      if (path?.match(/^(traces|hops)/))
        asked.push(path.replace(/[0-9a-f]{16,32}/, "ID").replace(/\?.*/, ""));
    });
    await page.goto(`${base}trace/${traceId}`);
    await page.locator("[role=treegrid] [data-row]").first().waitFor();
    for (const [name, ready] of [
      ["flame", "[role=application]"],
      ["table", "[role=table] [role=row]"],
      ["hops", "ol li"],
      ["json", "[role=group] code"],
    ]) {
      await page.keyboard.press("v");
      await page.waitForURL(new RegExp(`view=${name}`));
      await page.locator(ready).first().waitFor();
    }
    await page.keyboard.press("v");
    await page.waitForURL((url) => !url.search.includes("view="));
    await page.locator("[role=treegrid] [data-row]").first().waitFor();
    const expected = ["traces/ID", "hops", "traces/ID/otlp"];
    if (asked.join() !== expected.join())
      note(where, `asked for ${asked.join()}, expected ${expected.join()}`);
    await close();
  });

  await step("flame graph by keyboard: walk, select, go in, come back", async () => {
    const where = "flame keys";
    const { page, close } = await open(where);
    await page.goto(`${base}trace/${traceId}?view=flame`);
    const graph = page.locator("[role=application]");
    await graph.focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    await page.waitForURL(/span=/);
    await page.locator("aside dl").first().waitFor();
    await page.keyboard.press("Enter");
    await page.waitForURL(/root=/);
    await page.locator("nav button[aria-current]").waitFor();
    await page.keyboard.press("Enter");
    await page.waitForURL((url) => !url.search.includes("root="));
    await close();
  });

  await step("find by an attribute that no name has", async () => {
    const where = "find";
    const { page, close } = await open(where);
    await page.goto(`${base}trace/${traceId}?hops=all`);
    await page.locator("[role=treegrid] [data-row]").first().waitFor();
    await page.keyboard.press("f");
    await page.keyboard.type("upstream_cluster");
    const hits = page.locator("[role=search] span").first();
    await page.waitForFunction((el) => /^\d/.test(el.textContent), await hits.elementHandle());
    await page.keyboard.press("Enter");
    await page.waitForFunction((el) => /^\d+ of \d+$/.test(el.textContent), await hits.elementHandle());
    if (!(await page.locator("[data-row][data-hit=true], [data-row] [data-hit=true]").count()))
      note(where, "no row is marked as a hit");
    await screenshot(page, "trace-find");
    await axe(page, where);
    await close();
  });

  await step("a link opened in a fresh browser shows the same", async () => {
    const where = "shared link";
    const first = await open(where);
    await first.page.goto(`${base}trace/${traceId}`);
    const page = first.page;
    await page.locator("[role=treegrid] [data-row]").first().waitFor();
    for (const key of ["c", "j", "j", "ArrowLeft", "Enter"]) await page.keyboard.press(key);
    await page.waitForURL(/span=.*critical=1|critical=1.*span=/);
    await page.locator("aside dl").first().waitFor();
    await page.keyboard.press("w");
    await page.waitForURL(/w=\d/);
    const link = page.url();
    const before = await seen(page);
    const second = await open(where);
    await second.page.goto(link);
    await second.page.locator("aside dl").first().waitFor();
    const after = await seen(second.page);
    if (JSON.stringify(before) !== JSON.stringify(after))
      note(where, `the views differ: ${JSON.stringify(before)} and ${JSON.stringify(after)}`);
    await first.close();
    await second.close();
  });

  await step("keep, save, and open the file again without the server", async () => {
    const where = "file";
    const { page, close } = await open(where);
    await page.goto(`${base}trace/${traceId}`);
    await page.locator("[role=treegrid] [data-row]").first().waitFor();
    const rows = (await seen(page)).rows;
    await page.getByRole("button", { name: "Keep", exact: true }).click();
    await page.locator("button[aria-pressed=true]", { hasText: "Keep" }).waitFor();
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: "Save as file" }).click(),
    ]);
    const path = await download.path();
    const text = readFileSync(path, "utf8");
    if (JSON.parse(text).format !== "spanloom-trace") note(where, "the file is not what it should be");
    await page.goto(`${base}file`);
    const asked = [];
    page.on("request", (r) => r.url().includes("/traces/") && asked.push(r.url()));
    await page
      .locator("input[type=file]")
      .setInputFiles({ name: "t.json", mimeType: "application/json", buffer: Buffer.from(text) });
    await page.locator("[role=treegrid] [data-row]").first().waitFor();
    const again = (await seen(page)).rows;
    if (JSON.stringify(rows) !== JSON.stringify(again))
      note(where, "the file shows other rows than the server");
    await page.locator("[role=treegrid] [data-row]").nth(1).click();
    await page.locator("aside dl").first().waitFor();
    await page.locator("aside dd[data-type]").first().waitFor();
    await screenshot(page, "file-open");
    await axe(page, where);
    for (const ready of ["[role=application]", "[role=table] [role=row]", "ol li", "[role=group] code"]) {
      await page.keyboard.press("v");
      await page.locator(ready).first().waitFor();
    }
    if (asked.length) note(where, `the server was asked for ${asked.join()}`);
    await close();
  });

  for (const { name, text, rows } of hostileTraces()) {
    await step(`hostile: ${name}`, async () => {
      const where = `hostile ${name}`;
      const { page, close } = await open(where);
      page.on("dialog", (d) => {
        note(where, `a dialog: ${d.message()}`);
        d.dismiss();
      });
      await page.goto(`${base}file`);
      await page
        .locator("input[type=file]")
        .setInputFiles({ name: `${name}.json`, mimeType: "application/json", buffer: Buffer.from(text) });
      const grid = page.locator("[role=treegrid]");
      await grid.locator("[data-row]").first().waitFor();
      const count = Number(await grid.getAttribute("aria-rowcount")) - 1;
      if (count !== rows) note(where, `${count} rows instead of ${rows}`);
      await grid.locator("[data-row]").first().click();
      await page.locator("aside dl").first().waitFor();
      await screenshot(page, `hostile-${name.replace(/\W+/g, "-")}`);
      await axe(page, where);
      await page.keyboard.press("End");
      for (const ready of [
        "[role=application]",
        "[role=table] [role=row]",
        "[role=status]",
        "[role=group] code",
      ]) {
        await page.keyboard.press("v");
        await page.locator(ready).first().waitFor();
      }
      const harm = await page.evaluate(() => ({
        ran: globalThis.harmed === true,
        elements: document.querySelectorAll("main img, main script, main iframe, main b").length,
        wide: document.documentElement.scrollWidth > innerWidth + 1,
      }));
      if (harm.ran) note(where, "a script of the data ran");
      if (harm.elements) note(where, "markup of the data became elements");
      if (harm.wide) note(where, "the page scrolls sideways");
      await close();
    });
  }

  await step("files that are none are refused with a reason", async () => {
    const where = "bad files";
    const { page, close } = await open(where);
    await page.goto(`${base}file`);
    for (const [text, wanted] of [
      ["hello", /not JSON/],
      ["{}", /neither a trace/],
      ['{"resourceSpans":[]}', /no spans/],
      ['{"format":"spanloom-trace","version":1,"skeleton":{"spans":{"id":["x"]}}}', /damaged/],
    ]) {
      await page
        .locator("input[type=file]")
        .setInputFiles({ name: "x.json", mimeType: "application/json", buffer: Buffer.from(text) });
      await page.getByRole("alert").filter({ hasText: wanted }).waitFor();
    }
    await axe(page, where);
    await close();
  });
}
