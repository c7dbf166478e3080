// Fails for lines of more than 120 characters in sources and benches: the formatter wraps neither comments nor strings.
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const LONGEST = 120;
const root = fileURLToPath(new URL("..", import.meta.url));
const tooLong = [];
for (const folder of ["src", "pages", "test", "scripts", "../bench"]) {
  for (const entry of await readdir(root + folder, { recursive: true, withFileTypes: true })) {
    if (!/\.(ts|mjs|js|css)$/.test(entry.name) || entry.parentPath.includes("node_modules")) continue;
    const file = `${entry.parentPath}/${entry.name}`;
    const lines = (await readFile(file, "utf8")).split("\n");
    lines.forEach((line, i) => {
      if ([...line].length > LONGEST) tooLong.push(`${file}:${i + 1} has ${[...line].length} characters`);
    });
  }
}
for (const line of tooLong) console.error(`${line}; ${LONGEST} is the limit`);
process.exitCode = tooLong.length > 0 ? 1 : 0;
