// Benchmarks bundles that see pictures on a machine that has a browser and Node, and neither Python nor a package
// index:
//   CHROME=/path/to/chromium node bench/images.mjs [--tier NAME] ENGINE_DIR BUNDLE_DIR… [-- chromium flags]
// ENGINE_DIR is mlcweb/engine. For each bundle it prints whether it validates, and medians after a warm-up: a picture
// of 1,024 x 768 as one tile and cut into tiles, or in small and as it is. Each round has pictures that the engine has
// not seen: what it takes to prepare one, to run the tower on it, to the first token of a question, and to that of the
// same question in a new conversation. The last line is everything as JSON.
import { benchBundles } from "./bundles.mjs";

const USAGE = "usage: node bench/images.mjs [--tier NAME] ENGINE_DIR BUNDLE_DIR… [-- chromium flags]";
const REPEATS = 7;

const script = (urls, tier) => `
const { Engine, validate } = await import("/engine/mlcweb.js");
const { code } = await import("/engine/images.js");
const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1];
let shown = 0;
const picture = () => {
  const image = new ImageData(1024, 768);
  const value = (i) => (i * 7 + (i >> 12) * 13 + shown) % 256;
  for (let i = 0; i < image.data.length; i++) image.data[i] = i % 4 === 3 ? 255 : value(i);
  shown++;
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas.convertToBlob();
};
for (const url of ${JSON.stringify(urls)}) {
  const engine = await Engine.load(url, { cache: false, selfCheck: false, tier: ${JSON.stringify(tier)} });
  const { ok, max_relative_difference, picture: checked } = await validate(engine);
  const { images: facts } = await (await fetch(url + "mlcweb.json")).json();
  const seconds = async (work) => {
    const start = performance.now();
    const made = await work();
    return [(performance.now() - start) / 1000, made];
  };
  const ask = async (image, detail) => {
    await engine.reset();
    const content = [{ type: "image", image, detail }, { type: "text", text: "What is this?" }];
    const request = { messages: [{ role: "user", content }], max_tokens: 1, temperature: 0 };
    const [took, { usage }] = await seconds(() => engine.chat.completions.create(request));
    return { took, tokens: usage.prompt_tokens };
  };
  const measured = async (detail) => {
    const prepare = [], tower = [], first = [], again = [];
    let tokens = 0, tiles = 0;
    const { device } = engine.answering();
    for (let i = 0; i <= ${REPEATS}; i++) {
      const asked = [{ image: await picture(), path: "bench", ...(detail === "low" && { detail }) }];
      const [prepared, pictures] = await seconds(() => code.readPictures(asked, facts));
      const [seen] = await seconds(async () => {
        await engine.eyes.see(engine.answering(), [], pictures, undefined);
        await device.queue.onSubmittedWorkDone();
      });
      const image = await picture();
      const fresh = await ask(image, detail);
      const known = await ask(image, detail);
      tiles = pictures[0].tiles.length;
      tokens = fresh.tokens;
      if (i === 0) continue; // it warms up
      prepare.push(prepared);
      tower.push(seen);
      first.push(fresh.took);
      again.push(known.took);
    }
    const [a, b, c, d] = [prepare, tower, first, again].map(median);
    return { tiles, tokens, prepare: a, tower: b, first: c, again: d };
  };
  const [low, high] = [await measured("low"), await measured("high")];
  const { name, memory, tier } = engine.info;
  await report({ name, tier, memory, ok, max_relative_difference, checked, low, high });
  await engine.unload();
}`;

await benchBundles({
  usage: USAGE,
  script,
  accuracy: ({ max_relative_difference: words, checked: { relative_difference: picture } }) =>
    `${words.toExponential(1)}; ${picture.toExponential(1)}`,
  head: ["bundle", "tiles", "prompt", "prepare", "tower", "first token", "known picture"],
  rows: ({ name, low, high }) => [row(name, low), row(name, high)],
});

function row(name, { tiles, tokens, prepare, tower, first, again }) {
  const ms = (seconds) => `${(seconds * 1000).toFixed(1)} ms`;
  return [name, String(tiles), `${tokens} tokens`, ms(prepare), ms(tower), ms(first), ms(again)];
}
