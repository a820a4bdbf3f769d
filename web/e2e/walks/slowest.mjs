// The walk that the UI is made for, by keyboard alone: the slowest page of the last hour, why it was slow, a normal one beside it,
// and the link that shows the same to somebody else.
const rows = "[role=table] a[data-row-link]";
const treeRows = "[role=treegrid] [data-row]";

/** tabTo presses Tab until what has the focus fits the selector; throws after `most` of them. */
async function tabTo(page, selector, most = 60) {
  for (let i = 0; i < most; i++) {
    if (await page.evaluate((s) => document.activeElement?.matches(s), selector)) return;
    await page.keyboard.press("Tab");
  }
  throw new Error(`${most} times Tab did not reach ${selector}`);
}

/** seen is what a person reads of a page: its texts without those that tell how long ago something was. */
const seen = (page, selector) =>
  page
    .locator(selector)
    .evaluateAll((all) => all.map((e) => e.textContent.replace(/\d+ (seconds?|minutes?) ago|just now/g, "")));

export async function walk({ base, note, open, step, screenshot, patience }) {
  await step("the slowest page of the last hour, why, beside a normal one, and the link", async () => {
    const where = "slowest";
    const { page, close } = await open(where);
    await page
      .context()
      .grantPermissions(["clipboard-read", "clipboard-write"], { origin: new URL(base).origin });
    const copied = async () => {
      await page.keyboard.press("y");
      await page.waitForFunction(async () => (await navigator.clipboard.readText()).startsWith("http"));
      return page.evaluate(async () => {
        const text = await navigator.clipboard.readText();
        await navigator.clipboard.writeText("");
        return text;
      });
    };

    // Find it.
    await page.goto(`${base}search`);
    await page.locator(rows).first().waitFor();
    await page.keyboard.press("/");
    await page.waitForFunction(() => document.activeElement?.matches("input[role=combobox]"));
    await page.keyboard.type("operation=~.*/productpage");
    await page.keyboard.press("Enter");
    await page.waitForURL(/q=.*productpage/);
    await page.locator(rows).first().waitFor();
    await page.keyboard.press("Escape");
    await page.keyboard.press("Escape");
    await tabTo(page, "section:has(canvas) button");
    if (!/slowest/.test(await page.evaluate(() => document.activeElement.textContent)))
      note(where, "the first action of the heatmap is not the slowest ones");
    await page.keyboard.press("Enter");
    await page.waitForURL(/duration/);
    await page.locator(rows).first().waitFor();
    await tabTo(page, "select");
    await page.keyboard.type("lon"); // "longest first"
    await page.waitForURL(/sort=longest/);
    await page.waitForLoadState("networkidle");
    await tabTo(page, rows);
    await screenshot(page, "slowest-1-search");
    const found = page.url();
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/trace\//);
    await page.locator("[role=treegrid] [data-row]").first().waitFor();

    // Why: the critical path, then the first failed span with its details.
    await page.keyboard.press("c");
    await page.waitForURL(/critical|only=/);
    await page.keyboard.press("j");
    await page.waitForFunction(() => document.activeElement?.matches("[role=treegrid] [data-row]"));
    await page.keyboard.press("e");
    await page.keyboard.press("Enter");
    await page.locator("aside dl").first().waitFor();
    await screenshot(page, "slowest-2-why");
    const traceLink = await copied();
    const second = await open(where);
    await second.page.goto(traceLink);
    await agree(second.page, "aside dl", "aside dt, aside dd", "the details");
    await agree(second.page, treeRows, treeRows, "the rows of the trace");
    await second.close();

    // A normal one beside it.
    await page.keyboard.press("Escape");
    await page.keyboard.press("Escape");
    await page.keyboard.press("Escape");
    await tabTo(page, "header button[aria-haspopup=dialog]:has(+ *), header button[aria-haspopup=dialog]");
    for (let i = 0; i < 20; i++) {
      if (await page.evaluate(() => document.activeElement?.textContent === "Compare")) break;
      await page.keyboard.press("Tab");
    }
    await page.keyboard.press("Enter");
    await page.locator("[role=dialog] li button").first().waitFor();
    await tabTo(page, "[role=dialog] li button");
    if (!/normal|typical/i.test(await page.evaluate(() => document.activeElement.textContent)))
      note(where, "the first that is offered is no normal one");
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/compare\?a=/);
    await page.locator("main h2").first().waitFor();
    await page.waitForLoadState("networkidle");
    await screenshot(page, "slowest-3-compare");
    const comparison = "main h2, main p, main [role=row], main tbody tr";
    const link = await copied();
    if ((await seen(page, comparison)).length < 4) note(where, "the comparison says next to nothing");

    // Somebody else opens the link.
    const fresh = await open(where);
    await fresh.page.goto(link);
    await agree(fresh.page, "main h2", comparison, "the comparison");
    await fresh.close();

    // And all the way back.
    await page.goBack();
    await page.waitForURL(/\/trace\//);
    await page.goBack();
    await page.waitForURL((url) => url.href === found);
    await page.locator(rows).first().waitFor();
    await close();

    /** Both pages show the same, in the end: a trace may get its last spans between the two. */
    async function agree(other, ready, selector, what) {
      const until = Date.now() + patience;
      for (;;) {
        for (const p of [page, other]) {
          await p.locator(ready).first().waitFor();
          await p.waitForLoadState("networkidle");
        }
        const [want, got] = [await seen(page, selector), await seen(other, selector)];
        const at = want.findIndex((text, i) => text !== got[i]);
        if (at < 0 && got.length === want.length) return;
        if (Date.now() > until) {
          note(
            where,
            `the link shows ${what} otherwise: "${got[at] ?? got.length}" instead of "${want[at] ?? want.length}"`,
          );
          return;
        }
        await page.reload();
        await other.reload();
      }
    }
  });
}
