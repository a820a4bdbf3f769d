// Runs run.mjs and counts.mjs against the fixture server, at / and under /a/b/.
//
//   node e2e/fixture-run.mjs [--out e2e/out]
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { startFixture } from "./fixture-server.mjs";

const { values: args } = parseArgs({ options: { out: { type: "string", default: "e2e/out" } } });
const script = (name) => fileURLToPath(new URL(name, import.meta.url));
const run = (name, ...more) =>
  new Promise((resolve) =>
    spawn(process.execPath, [script(name), ...more], { stdio: "inherit" }).on("exit", resolve),
  );

let failed = 0;
for (const base of ["/", "/a/b/"]) {
  const fixture = await startFixture({ base });
  console.log(`\n# ${fixture.url}`);
  failed += (await run(
    "run.mjs",
    "--base",
    fixture.url,
    "--out",
    `${args.out}${base === "/" ? "" : "/based"}`,
  ))
    ? 1
    : 0;
  await fixture.stop();
}
failed += (await run("counts.mjs")) ? 1 : 0;
process.exit(failed ? 1 : 0);
