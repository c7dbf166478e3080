// Texts to vectors, by mlcweb and by Transformers.js in one page and in turns.
import { median, numbers, timed, transformers } from "/contenders/transformers.js";

const PATIENCE_S = 10; // a slower contender is timed once, with one size of batch

/** Reports what each contender is, and what it took; `done` in the end. `models` are pairs of a folder and a dtype. */
export async function compareTexts({ bundle, tier, models, texts: count, tokens, repeats, batch, half }, report) {
  const batches = batch ? [batch] : [32, 128, 512, count].filter((size) => size <= count);
  const { Engine, validate } = await import("/engine/mlcweb.js");
  const sentences = (await (await fetch("/engine/sentences.txt")).text()).trim().split("\n");
  const at = (i) => sentences[i % sentences.length];
  const texts = Array.from({ length: count }, (_, i) => [0, 7, 13].map((k) => at(i + k)).join(" "));
  const { seconds: load_s, made: engine } = await timed(() => Engine.load(bundle, { cache: false, tier }));
  const { ok, max_relative_difference } = await validate(engine);
  const { info } = engine;
  await report({ engine: { name: info.name, tier: info.tier, ok, max_relative_difference } });
  const flat = numbers(count * tokens, info.model.vocab_size);
  const lists = Array.from({ length: count }, (_, i) => flat.slice(i * tokens, (i + 1) * tokens));
  const contenders = [{ ...ours(engine), load_s }];
  for (const { folder, dtype } of models) {
    const name = `${folder} ${dtype}`;
    if (dtype.includes("16") && !half) {
      await report({ failed: { folder, dtype, error: "the adapter has no shader-f16" } });
      continue;
    }
    try {
      const { seconds, made } = await timed(() => open(folder, dtype, tier === "wasm" ? "wasm" : "webgpu"));
      const contender = { name, load_s: seconds, ...made };
      await choose(contender, lists, batches);
      contenders.push(contender);
      await report({ opened: name });
    } catch (error) {
      // Transformers.js runs nothing more in a page where a model failed.
      return report({ failed: { folder, dtype, error: String(error?.message ?? error).split("\n")[0] } });
    }
  }
  for (const contender of contenders) {
    contender.vectors = await contender.embed(lists); // this warms up too
    await contender.read(texts);
    Object.assign(contender, { tokens: [], texts: [] });
  }
  for (let turn = 0; turn < repeats; turn++)
    for (const contender of contenders) {
      if (contender.slow && turn > 0) continue;
      contender.tokens.push((await timed(() => contender.run(lists))).seconds);
      contender.texts.push((await timed(() => contender.read(texts))).seconds);
    }
  const [{ vectors: own }] = contenders;
  for (const { name, load_s, batch, vectors, tokens: ofTokens, texts: ofTexts } of contenders)
    await report({
      measured: {
        ...{ name, load_s, batch, runs: ofTokens.length, all: ofTokens, tokens_s: median(ofTokens) },
        texts_s: median(ofTexts),
        ...likeness(own, vectors),
      },
    });
  await report({ finished: true });
}

function ours(engine) {
  const create = async (input, encoding_format) =>
    (await engine.embeddings.create({ input, encoding_format, truncate: true })).data;
  return {
    name: "mlcweb",
    run: (input) => create(input, "base64"),
    read: (input) => create(input, "base64"),
    embed: async (input) => (await create(input, "float")).map(({ embedding }) => embedding),
  };
}

/** A feature-extraction pipeline, whose model is also run on tokens: as it runs texts, but for reading them. */
async function open(folder, dtype, device) {
  const { mean_pooling, pipeline, Tensor } = await transformers();
  const extractor = await pipeline("feature-extraction", folder, { device, dtype });
  const ofTokens = async (lists) => {
    const dims = [lists.length, lists[0].length];
    const ids = BigInt64Array.from(lists.flat(), BigInt);
    const attention_mask = new Tensor("int64", new BigInt64Array(ids.length).fill(1n), dims);
    const token_type_ids = new Tensor("int64", new BigInt64Array(ids.length), dims);
    const input = { input_ids: new Tensor("int64", ids, dims), attention_mask, token_type_ids };
    const { last_hidden_state } = await extractor.model(input);
    return mean_pooling(last_hidden_state, attention_mask).normalize(2, -1);
  };
  const ofTexts = (texts) => extractor(texts, { pooling: "mean", normalize: true });
  return {
    batch: undefined,
    async run(lists) {
      return inBatches(lists, this.batch, async (batch) => (await ofTokens(batch)).data);
    },
    async read(texts) {
      return inBatches(texts, this.batch, async (batch) => (await ofTexts(batch)).data);
    },
    async embed(lists) {
      return (await inBatches(lists, this.batch, async (batch) => (await ofTokens(batch)).tolist())).flat();
    },
  };
}

async function inBatches(all, size, work) {
  const made = [];
  for (let i = 0; i < all.length; i += size) made.push(await work(all.slice(i, i + size)));
  return made;
}

/** Takes the size of batch with which the contender is fastest. */
async function choose(contender, lists, batches) {
  let best = Number.POSITIVE_INFINITY;
  for (const batch of batches) {
    const trial = { ...contender, batch };
    let took;
    try {
      const first = await timed(() => trial.run(lists)); // it compiles kernels
      contender.slow = first.seconds > PATIENCE_S;
      took = contender.slow ? first.seconds : (await timed(() => trial.run(lists))).seconds;
    } catch (error) {
      if (best === Number.POSITIVE_INFINITY) throw error;
      return; // a larger batch did not fit
    }
    if (took < best) {
      best = took;
      contender.batch = batch;
    }
    if (contender.slow) return;
  }
}

/** How near vectors are to ours: the least cosine to that of the same text, and the mean one to that of another. */
function likeness(own, vectors) {
  const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
  const cosine = (a, b) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  const others = vectors.map((vector, i) => cosine(vector, own[(i + 1) % own.length]));
  return {
    least_cosine: Math.min(...vectors.map((vector, i) => cosine(vector, own[i]))),
    mean_cosine_of_others: others.reduce((sum, x) => sum + x, 0) / others.length,
  };
}
