// The mesh screen: the form, what the server refuses, forms of a repository, and the way there by keys. A server without a
// cluster answers 501 for the plan and 400 where no version of Istio is known: both belong to the case.
const expected = [400, 501];

export const screens = () => [
  {
    name: "mesh",
    path: "mesh?version=1.28&sampling=staging",
    ready: "[aria-labelledby=mesh-yaml] pre",
    expected,
  },
  {
    name: "mesh-refused",
    path: "mesh?version=1.28&sampling=200",
    ready: "form [role=alert]",
    expected,
  },
  {
    name: "mesh-files",
    path: "mesh?version=1.21&protocol=zipkin&for=helm,telemetry&tags=environment%3Dproduction&now=1",
    ready: "[aria-labelledby=mesh-yaml] pre",
    expected,
  },
];

export async function walk({ base, note, open, step, screenshot }) {
  await step("the mesh screen by keys, its address, and the way back", async () => {
    const where = "mesh";
    const { page, close } = await open(where, { expected });
    await page.goto(base);
    await page.locator("main h1").waitFor();
    await page.keyboard.press("g");
    await page.keyboard.press("e");
    await page.waitForURL(/\/mesh$/);
    await page.locator("form select").waitFor();
    await page.locator("form select").selectOption("1.28");
    await page
      .locator("input[name=protocol][value=zipkin], input[name=protocol]")
      .nth(1)
      .check({ force: true });
    await page.locator("input[name=sampling]").nth(1).check();
    await page.locator("textarea").fill("environment=production\nuser=header:x-user:nobody");
    await page.waitForURL(/protocol=zipkin&sampling=dev&version=1\.28&tags=environment=production&tags=/);
    const command = page.locator("[aria-labelledby=mesh-command] pre");
    await command.getByText("user=header").waitFor();
    const said = (await command.textContent()) ?? "";
    for (const part of [
      "spanloom mesh apply",
      "--sampling dev",
      "--tags environment=production",
      "--istio-version 1.28",
    ])
      if (!said.includes(part)) note(where, `the command lacks ${part}: ${said}`);
    const yaml = (await page.locator("[aria-labelledby=mesh-yaml] pre").allTextContents()).join("");
    if (!yaml.includes("zipkin:")) note(where, "the YAML is not the one of the form");
    // The address alone gives the same screen.
    const url = page.url();
    await page.reload();
    await command.getByText("user=header").waitFor();
    if ((await page.locator("textarea").inputValue()) !== "environment=production\nuser=header:x-user:nobody")
      note(where, "the tags are lost by a reload");
    if (page.url() !== url) note(where, `the address changed from ${url} to ${page.url()}`);
    // What is refused is kept, and named where it was typed.
    await page.locator("form input[placeholder=istio-system]").fill("Not a name");
    await page.locator("form [role=alert]").waitFor();
    if ((await page.locator("form input[placeholder=istio-system]").inputValue()) !== "Not a name")
      note(where, "a refused value is not kept");
    await screenshot(page, "mesh-named");
    await page.locator("form input[placeholder=istio-system]").fill("");
    await command.waitFor();
    const [file] = await Promise.all([
      page.waitForEvent("download"),
      page.locator("[aria-labelledby=mesh-yaml] button").nth(1).click(),
    ]);
    if (file.suggestedFilename() !== "spanloom-mesh.yaml")
      note(where, `downloaded ${file.suggestedFilename()}`);
    await close();
  });
}
