// Comparing two traces: from the header of one, from Jaeger's form of a link, and when an id is wrong.

export const screens = ({ traceId }) => [
  {
    name: "compare",
    path: `trace/${traceId}`,
    ready: "[role=treegrid] [data-row]",
    act: compareWithFirst,
  },
  { name: "compare-ask", path: "compare", ready: "main form input" },
];

/** Opens the list of other traces of the same root and takes the first. */
async function compareWithFirst(page) {
  await page.locator("header button[aria-haspopup=dialog]", { hasText: /Compare|비교/ }).click();
  await page.locator("[role=dialog] li button").first().click();
  await page.waitForURL(/\/compare\?a=/);
  await page.locator("main h2").first().waitFor();
}

export async function walk({ base, note, open, step, screenshot, traceId }) {
  await step("compare by keyboard alone, send the link, open it elsewhere", async () => {
    const where = "compare";
    const { page, close } = await open(where);
    await page.goto(`${base}trace/${traceId}`);
    await page.locator("[role=treegrid] [data-row]").first().waitFor();
    const button = page.locator("header button[aria-haspopup=dialog]", { hasText: "Compare" });
    await button.focus();
    await page.keyboard.press("Enter");
    const panel = page.locator("[role=dialog]");
    await panel.locator("li button").first().waitFor();
    await page.waitForFunction(() => document.activeElement?.matches("[role=dialog] *"));
    // Past the field and its button to the first trace of the list.
    for (let i = 0; i < 8; i++) {
      if (await page.evaluate(() => document.activeElement?.matches("[role=dialog] li button"))) break;
      await page.keyboard.press("Tab");
    }
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/compare\?a=[0-9a-f]+&b=[0-9a-f]+/);
    await page.locator("main h2").first().waitFor();
    const answer = await page.locator("main p strong").allTextContents();
    const rows = await page.locator("[role=table] [role=row], table tbody tr").count();
    await screenshot(page, "compare-keyboard");
    const second = await open(where);
    await second.page.goto(page.url());
    await second.page.locator("main h2").first().waitFor();
    if ((await second.page.locator("main p strong").allTextContents()).join() !== answer.join())
      note(where, "the link shows another answer");
    if ((await second.page.locator("[role=table] [role=row], table tbody tr").count()) !== rows)
      note(where, "the link shows other rows");
    await second.close();
    await page.goBack();
    await page.waitForURL(/\/trace\//);
    await close();
  });

  await step("a pasted header is the other trace; nonsense is refused and stays in the field", async () => {
    const where = "compare paste";
    const { page, close } = await open(where, { expected: [404] });
    await page.goto(`${base}trace/${traceId}`);
    await page.locator("[role=treegrid] [data-row]").first().waitFor();
    await page.locator("header button[aria-haspopup=dialog]", { hasText: "Compare" }).click();
    const input = page.locator("#compare-with");
    await input.fill("<b>nonsense");
    await input.press("Enter");
    await page.locator("#compare-wrong").waitFor();
    if ((await input.inputValue()) !== "<b>nonsense") note(where, "what was typed is lost");
    await input.fill("traceparent: 00-00000000000000000000000000000bad-00f067aa0ba902b7-01");
    await input.press("Enter");
    await page.waitForURL(/\/compare\?a=/);
    await page.getByRole("alert").first().waitFor();
    await close();
  });

  await step("Jaeger's and Kiali's form of a comparison", async () => {
    const { page, close } = await open("compare links");
    await page.goto(`${base}trace/${traceId}...${traceId}?cohort=${traceId}`);
    await page.waitForURL(/\/compare\?a=[0-9a-f]+&b=[0-9a-f]+/);
    await page.locator("main h2").first().waitFor();
    await close();
  });
}
