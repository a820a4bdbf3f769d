// What every walk through the UI needs: a browser whose pages report what goes wrong, axe, and steps whose failure does not end the run.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { AxeBuilder } from "@axe-core/playwright";
import { chromium } from "playwright-core";

/** kit starts the browser. `base` is Spanloom's address with a slash at its end, `out` the folder of the screenshots. */
export async function makeKit({ base, out, executablePath }) {
  mkdirSync(out, { recursive: true });
  const findings = [];
  const note = (where, text) => {
    findings.push(`${where}: ${text}`);
    console.error(`  ✗ ${where}: ${text}`);
  };

  // How long a condition may take; slow machines set the factor higher.
  const patience = 15_000 * Number(process.env.SPANLOOM_TEST_SLOW ?? 1);

  const browser = await chromium.launch({
    executablePath: executablePath,
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

  /** A page whose console, requests and policy violations are findings. `expected` are statuses that belong to the case. */
  async function open(where, { theme = "light", language = "en", expected = [] } = {}) {
    const context = await browser.newContext({
      viewport: { width: 1400, height: 900 },
      colorScheme: theme,
      locale: language === "ko" ? "ko-KR" : "en-US",
    });
    await context.addInitScript(() => {
      addEventListener("securitypolicyviolation", (e) =>
        console.error(`CSP: ${e.violatedDirective} ${e.blockedURI}`),
      );
    });
    const page = await context.newPage();
    page.setDefaultTimeout(patience);
    page.on("console", (m) => {
      if (m.type() !== "error") return;
      if (expected.some((status) => m.text().includes(`status of ${status}`))) return;
      note(where, `console: ${m.text()}`);
    });
    page.on("pageerror", (e) => note(where, `uncaught: ${e.message}`));
    page.on("response", (r) => {
      if (r.status() >= 400 && !expected.includes(r.status())) note(where, `${r.status()} ${r.url()}`);
    });
    page.on("requestfailed", (r) => {
      // The page itself gives up requests it no longer needs.
      if (r.failure()?.errorText !== "net::ERR_ABORTED") note(where, `${r.failure()?.errorText} ${r.url()}`);
    });
    return { page, close: () => context.close() };
  }

  async function axe(page, where) {
    const { violations } = await new AxeBuilder({ page }).analyze();
    for (const v of violations) {
      note(
        where,
        `axe ${v.id} (${v.impact}): ${v.help}: ${v.nodes
          .slice(0, 3)
          .map((n) => n.target.join(" "))
          .join(" | ")}`,
      );
    }
  }

  /** step runs a part; what it throws is a finding and the rest goes on. */
  async function step(name, run) {
    console.log(name);
    try {
      await run();
    } catch (e) {
      note(name, String(e.message ?? e).split("\n")[0]);
    }
  }

  let traceId;
  await step("find a trace", async () => {
    const { page, close } = await open("find a trace");
    await page.goto(`${base}search?last=24h`);
    const link = page.locator("a[data-row-link]").first();
    await link.waitFor();
    traceId = /\/trace\/([0-9a-f]+)/.exec(await link.getAttribute("href"))?.[1];
    if (!traceId) note("find a trace", "the first result is no link to a trace");
    await close();
  });

  /** screenshot keeps a picture of the page under a name. */
  const screenshot = (page, name) => page.screenshot({ path: join(out, `${name}.png`) });

  return {
    base,
    out,
    patience,
    findings,
    note,
    open,
    axe,
    step,
    screenshot,
    traceId,
    close: () => browser.close(),
  };
}
