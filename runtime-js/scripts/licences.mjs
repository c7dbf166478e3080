// The licences of other people's packages whose code is in what we ship, as their terms ask.
import { readdir, readFile } from "node:fs/promises";

/** One text, of the packages among esbuild's inputs ("node_modules/@scope/name/file.js"). Fails for one that has no
 * licence's text. */
export async function licencesOf(root, inputs) {
  const packages = new Set(
    [...inputs].flatMap((path) => path.match(/.*node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[0] ?? []),
  );
  const texts = [];
  for (const folder of [...packages].sort()) {
    const { name, version, license } = JSON.parse(await readFile(`${root}${folder}/package.json`, "utf8"));
    const file = (await readdir(root + folder)).find((entry) => /^licen[cs]e/i.test(entry));
    if (file === undefined) throw new Error(`${folder} has no licence file, and its code would ship`);
    texts.push(
      `${name} ${version} (${license})\n\n${(await readFile(`${root}${folder}/${file}`, "utf8")).trimEnd()}\n`,
    );
  }
  return `Code of these packages is part of mlcweb's engine.\n\n${texts.join("\n\n")}`;
}
