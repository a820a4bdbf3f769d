// What must not hurt the UI, against a server of its own:
//
//   node e2e/hostile-run.mjs --base http://127.0.0.1:16686/ --otlp http://127.0.0.1:4318/ --pid PID --out e2e/out [--chromium PATH]
//
// It sends spans whose every string is hostile and opens each screen on them; then the server is slow, answers in part, is older
// than the UI, and goes away: the walk ends its process. Exit codes are those of run.mjs.
import { parseArgs } from "node:util";
import { hostileMesh, hostileTraceId, strings } from "./hostile.mjs";
import { makeKit } from "./kit.mjs";

const { values: args } = parseArgs({
  options: {
    base: { type: "string" },
    otlp: { type: "string" },
    pid: { type: "string" },
    out: { type: "string", default: "e2e/out" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
  },
});
if (!args.base || !args.otlp || !args.pid) {
  console.error(
    "usage: node e2e/hostile-run.mjs --base URL --otlp URL --pid PID --out DIR [--chromium PATH]",
  );
  process.exit(2);
}

for (const body of hostileMesh(Date.now())) {
  const reply = await fetch(new URL("v1/traces", args.otlp), {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
  });
  const text = await reply.text();
  if (!reply.ok || /rejectedSpans/.test(text)) {
    console.error(`the receiver answered ${reply.status} ${text.slice(0, 300)}`);
    process.exit(1);
  }
}

const kit = await makeKit({ base: args.base, out: args.out, executablePath: args.chromium });
const { base, note, open, axe, step, screenshot, findings, traceId } = kit;
const api = (path) => `**/api/spanloom/v1/${path}`;
const alert = (page) => page.locator("main [role=alert], [role=alert]").first();

const all = "search?last=1h";
const row = "[role=table] a[data-row-link]";
const node = "[data-keys=map] [data-node]";
const spanRow = "[role=treegrid] [data-row]";

/** Opens the details of the first span with all there is in them. */
async function details(page) {
  await page.locator(spanRow).nth(1).click();
  await page.locator("aside dl").first().waitFor();
}
const views = [
  ["flame", "[role=application]"],
  ["table", "[role=table] [role=row]"],
  ["hops", "ol li"],
  ["json", "[role=group] code"],
];
/** Markup, a direction that never ends, NUL, blanks and what is long: for the views that are opened on a few only. */
const worst = [0, 4, 7, 12, 13];

const screens = [
  { name: "overview", path: "?last=1h", ready: "table tbody tr" },
  { name: "search", path: all, ready: row },
  { name: "search apart", path: `${all}&apart=slow`, ready: "aside ul li, aside [role=status]" },
  { name: "search failed", path: `${all}&apart=failed`, ready: "aside ul li, aside [role=status]" },
  ...strings.slice(0, 7).map((s, i) => ({
    name: `search chip ${i}`,
    path: `${all}&q=${encodeURIComponent(`service=${JSON.stringify(s)}`)}`,
    ready: "main ul li",
  })),
  {
    name: "search suggestions",
    path: all,
    ready: row,
    act: async (page) => {
      await page.locator("input[role=combobox]").fill("service=");
      await page.locator("[role=listbox] [role=option]").first().waitFor();
    },
  },
  ...strings.map((_, i) => ({
    name: `trace ${i}`,
    path: `trace/${hostileTraceId(i)}`,
    ready: spanRow,
    act: details,
  })),
  ...views.flatMap(([view, ready]) =>
    worst.map((i) => ({
      name: `trace ${i} ${view}`,
      path: `trace/${hostileTraceId(i)}?view=${view}`,
      ready,
    })),
  ),
  {
    name: "compare",
    path: `trace/${traceId}`,
    ready: spanRow,
    act: async (page) => {
      await page.locator("header button[aria-haspopup=dialog]", { hasText: /Compare|비교/ }).click();
      await page.locator("[role=dialog] li button").first().click();
      await page.waitForURL(/\/compare\?a=/);
      await page.locator("main h2").first().waitFor();
    },
  },
  { name: "map", path: "map?last=1h&fold=none", ready: node },
  { name: "map folded", path: "map?last=1h&fold=all", ready: node },
  { name: "map table", path: "map?last=1h&view=table&fold=none", ready: "main table tbody tr" },
  {
    name: "map node",
    path: "map?last=1h&fold=none",
    ready: node,
    act: async (page) => {
      await page.locator(`${node}[data-kind=service][data-node*="onerror"]`).first().dispatchEvent("click");
      await page.locator("aside h2").waitFor();
    },
  },
  {
    name: "map call",
    path: "map?last=1h&fold=none",
    ready: node,
    act: async (page) => {
      await page.locator(`${node}[data-kind=service][data-node*="onerror"]`).first().dispatchEvent("click");
      await page.locator("aside li button").first().click();
      await page.locator("aside canvas").first().waitFor();
    },
  },
  {
    name: "service",
    path: "map?last=1h&fold=none",
    ready: node,
    act: async (page) => {
      await page.locator(`${node}[data-kind=service][data-node*="onerror"]`).first().dispatchEvent("click");
      await page.locator("aside a[href*='/service/']").click();
      await page.locator("main canvas").first().waitFor();
    },
  },
  { name: "doctor", path: "doctor?last=1h", ready: "main h2" },
  { name: "status", path: "status", ready: "main table tbody tr" },
  {
    name: "palette",
    path: "",
    ready: "main h1",
    act: async (page) => {
      await page.keyboard.press("Control+k");
      await page.keyboard.type("<img");
    },
  },
];

for (const [language, theme] of [
  ["en", "light"],
  ["ko", "dark"],
]) {
  // What strings do does not depend on the language; that each screen bears them in the dark does.
  for (const s of screens.filter((x) => language === "en" || !/^trace [1-9]/.test(x.name))) {
    const where = `hostile ${s.name} ${language}`;
    await step(where, async () => {
      const { page, close } = await open(where, { language, theme });
      page.on("dialog", (d) => {
        note(where, `a dialog: ${d.message()}`);
        d.dismiss();
      });
      await page.goto(base + s.path);
      await page.locator(s.ready).first().waitFor();
      await s.act?.(page);
      await page.waitForLoadState("networkidle");
      await screenshot(page, where.replace(/\W+/g, "-"));
      const harm = await page.evaluate(() => ({
        ran: globalThis.harmed === true,
        elements: document.querySelectorAll("main img, main script, main iframe, main b, [role=dialog] img")
          .length,
        wide: document.documentElement.scrollWidth - innerWidth,
      }));
      if (harm.ran) note(where, "a script of the data ran");
      if (harm.elements) note(where, "markup of the data became elements");
      if (harm.wide > 1) note(where, `the page is ${harm.wide} px too wide`);
      await axe(page, where);
      await close();
    });
  }
}

/** Takes back the findings since `before` that belong to the case. */
function forgive(before, pattern) {
  findings.push(...findings.splice(before).filter((f) => !pattern.test(f)));
}

await step("slow: the wait is told and can be ended", async () => {
  const where = "slow";
  const { page, close } = await open(where);
  let go;
  const held = new Promise((done) => {
    go = done;
  });
  await page.route(api(`traces/${traceId}`), async (route) => {
    await held;
    await route.continue().catch(() => {}); // the page may have given it up
  });
  await page.goto(`${base}trace/${traceId}`);
  await page.getByText(/Loading for \d+ s/).waitFor();
  await axe(page, where);
  await screenshot(page, "slow");
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText("Cancelled.").waitFor();
  go();
  await page.locator("main [role=status] button").click();
  await page.locator(spanRow).first().waitFor();
  await close();
});

await step("in part: what is missing is said, and what is there is shown", async () => {
  const where = "in part";
  const { page, close } = await open(where);
  await page.route(api("search/stream*"), async (route) => {
    const reply = await route.fetch();
    const lines = (await reply.text())
      .trim()
      .split("\n")
      .map((l) => JSON.parse(l));
    Object.assign(lines.at(-1), { complete: false, reason: "2 of 5 shards did not answer" });
    await route.fulfill({ response: reply, body: `${lines.map((l) => JSON.stringify(l)).join("\n")}\n` });
  });
  await page.goto(base + all);
  await page.locator(row).first().waitFor();
  await page.getByText("2 of 5 shards did not answer").first().waitFor();
  await screenshot(page, "in-part");
  await axe(page, where);
  await close();
});

// What a server of an earlier version does not know; the page says so and the rest stands.
for (const [name, path, ready, missing] of [
  ["heatmap", all, row, "heatmap*"],
  ["differences", `${all}&apart=slow`, row, "differences*"],
  ["hops", `trace/${traceId}?view=hops`, "main h1, header h1", "hops*"],
  ["map", "map?last=1h", "main h1", "map?*"],
  ["doctor", "doctor", "main h1", "doctor?*"],
  ["stream", all, "main h1", "search/stream*"],
]) {
  await step(`older server: no ${name}`, async () => {
    const where = `older ${name}`;
    const { page, close } = await open(where, { expected: [404] });
    await page.route(api(missing), (route) =>
      route.fulfill({
        status: 404,
        contentType: "application/json",
        body: JSON.stringify({
          error: { kind: "notFound", message: `no such path: /api/spanloom/v1/${name}` },
        }),
      }),
    );
    await page.goto(base + path);
    await page.locator(ready).first().waitFor();
    await alert(page).waitFor();
    if (!/another version/.test((await alert(page).textContent()) ?? ""))
      note(where, `the page says ${await alert(page).textContent()}`);
    await screenshot(page, where.replace(/\W+/g, "-"));
    await axe(page, where);
    await close();
  });
}

await step("code that does not come: said, and Try again asks for it", async () => {
  const where = "code";
  const { page, close } = await open(where, { expected: [404] });
  const before = findings.length;
  await page.goto(base);
  await page.locator("main h1").waitFor();
  await page.route("**/assets/StatusPage-*.js", (route) => route.fulfill({ status: 404, body: "" }));
  await page.keyboard.press("g");
  await page.keyboard.press("s");
  await page.waitForURL(/\/search/);
  await page.locator("nav a[href$='/status']").click();
  await page.getByText("The code of this page did not come.").waitFor();
  await screenshot(page, "code");
  await axe(page, where);
  await page.unroute("**/assets/StatusPage-*.js");
  await page.getByRole("button", { name: "Reload the page" }).click();
  await page.locator("main table tbody tr").first().waitFor();
  forgive(before, /CodeError/);
  await close();
});

await step("gone: said on every screen, and what was typed stays", async () => {
  const where = "away";
  const { page, close } = await open(where);
  const before = findings.length;
  await page.goto(`${base}${all}&q=duration%3E0ms`);
  await page.locator(row).first().waitFor();
  const input = page.locator("input[role=combobox]");
  await input.fill('operation="typed before it went"');
  process.kill(Number(args.pid), "SIGKILL");
  await input.press("Enter");
  await alert(page).waitFor({ timeout: 30_000 });
  // Each question is asked twice before it is given up.
  await page.waitForFunction(() => !document.querySelector("main [aria-busy=true]"));
  const text = await alert(page).textContent();
  if (!/did not answer/.test(text ?? "")) note(where, `the page says ${text}`);
  if (!(await page.getByRole("button", { name: "Try again" }).count()))
    note(where, "there is no way to try again");
  const chips = await page.locator("main ul li").allTextContents();
  if (!chips.some((c) => c.includes("typed before it went"))) note(where, `what was typed is lost: ${chips}`);
  await screenshot(page, "away");
  await axe(page, where);
  // Other screens, by the links of the page that is still open.
  for (const path of ["/", "/status", "/map", "/doctor"]) {
    await page.locator(`nav a[href$='${path}']`).first().click();
    await alert(page).waitFor({ timeout: 30_000 });
    await screenshot(page, `away-${path.slice(1) || "overview"}`);
  }
  forgive(
    before,
    /ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET|Failed to load resource|CodeError/,
  );
  await close();
});

await kit.close();
if (findings.length) {
  console.error(`\n${findings.length} finding${findings.length === 1 ? "" : "s"}:`);
  for (const f of findings) console.error(`- ${f}`);
  process.exit(1);
}
console.log(`\nfine; screenshots are in ${args.out}`);
