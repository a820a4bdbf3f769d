// Writes a .gz beside every text file of the build, which embed.go prefers when the browser takes it.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { extname, join } from "node:path";
import { constants, gzipSync } from "node:zlib";

const packed = new Set([".js", ".css", ".svg"]);

function walk(dir) {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) walk(path);
    else if (packed.has(extname(entry.name))) {
      const body = readFileSync(path);
      const gz = gzipSync(body, { level: constants.Z_BEST_COMPRESSION });
      if (gz.length < body.length) writeFileSync(`${path}.gz`, gz);
    }
  }
}

walk(process.argv[2] ?? "dist");
