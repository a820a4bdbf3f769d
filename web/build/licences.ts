import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const id = "virtual:npm-packages";

/** Gives the npm packages that are part of the pages, with their licences, as a module: out of the lock file, so it is never behind. */
export function npmPackages() {
  const resolved = `\0${id}`;
  return {
    name: "npm-packages",
    resolveId: (source: string) => (source === id ? resolved : undefined),
    load(source: string) {
      if (source !== resolved) return undefined;
      const path = fileURLToPath(new URL("../package-lock.json", import.meta.url));
      const lock = JSON.parse(readFileSync(path, "utf8")) as {
        packages: Record<string, { version?: string; license?: string; dev?: boolean; peer?: boolean }>;
      };
      const list = Object.entries(lock.packages)
        // Types are erased when the pages are built.
        .filter(([name, p]) => name !== "" && !p.dev && !name.includes("node_modules/@types/"))
        .map(([name, p]) => ({
          name: name.replace(/^.*node_modules\//, ""),
          version: p.version ?? "",
          licence: p.license ?? "",
        }))
        .sort((a, b) => (a.name < b.name ? -1 : 1));
      return `export default ${JSON.stringify(list)};`;
    },
  };
}
