// A prompt's first token and the greedy tokens after it, by mlcweb and by Transformers.js in one page and in turns.
import { median, numbers, timed, transformers } from "/contenders/transformers.js";

/** Reports what each contender is, and what it took; `finished` in the end. `models` are pairs of a folder and a
 * dtype. */
export async function compareDecoding({ bundle, tier, models, prompt: length, decode, repeats, half }, report) {
  const { Engine, validate } = await import("/engine/mlcweb.js");
  const { seconds: load_s, made: engine } = await timed(() => Engine.load(bundle, { cache: false, tier }));
  const { ok, max_relative_difference } = await validate(engine);
  const { info } = engine;
  await report({ engine: { name: info.name, tier: info.tier, ok, max_relative_difference } });
  const prompt = numbers(length, info.model.vocab_size);
  const contenders = [{ ...ours(engine), load_s }];
  for (const { folder, dtype } of models) {
    const name = `${folder} ${dtype}`;
    if (dtype.includes("16") && !half) {
      await report({ failed: { folder, dtype, error: "the adapter has no shader-f16" } });
      continue;
    }
    try {
      const { seconds, made } = await timed(() => open(folder, dtype));
      const contender = { name, load_s: seconds, ...made };
      await answer(contender, prompt, 4);
      contenders.push(contender);
      await report({ opened: name });
    } catch (error) {
      // Transformers.js runs nothing more in a page where a model failed.
      return report({ failed: { folder, dtype, error: String(error?.message ?? error).split("\n")[0] } });
    }
  }
  for (const contender of contenders) {
    await answer(contender, prompt, decode + 1); // it warms up
    contender.runs = [];
  }
  for (let turn = 0; turn < repeats; turn++)
    for (const contender of contenders) contender.runs.push(await answer(contender, prompt, decode + 1));
  for (const { name, load_s, runs } of contenders) {
    const of = (key) => median(runs.map((run) => run[key]));
    const first_s = of("first_s");
    const speeds = { first_s, prefill_tokens_per_s: length / first_s, decode_tokens_per_s: decode / of("decode_s") };
    await report({ measured: { name, load_s, ...speeds, runs } });
  }
  await report({ finished: true });
}

/** One run: seconds to the first token and from it to the last, and the first tokens. */
async function answer(contender, prompt, count) {
  const tokens = [];
  const start = performance.now();
  let first, last;
  await contender.answer(prompt, count, (token) => {
    last = performance.now();
    first ??= last;
    tokens.push(token);
  });
  if (tokens.length !== count) throw new Error(`${tokens.length} tokens came instead of ${count}`);
  return { first_s: (first - start) / 1000, decode_s: (last - first) / 1000, tokens: tokens.slice(0, 16) };
}

function ours(engine) {
  return {
    name: "mlcweb",
    async answer(prompt, max_tokens, heard) {
      await engine.reset();
      const options = { max_tokens, temperature: 0, stop_tokens: [] };
      for await (const { token } of engine.generate(prompt, options)) heard(token);
    },
  };
}

async function open(folder, dtype) {
  const { AutoModelForCausalLM, BaseStreamer, Tensor } = await transformers();
  const model = await AutoModelForCausalLM.from_pretrained(folder, { device: "webgpu", dtype });
  return {
    async answer(prompt, max_new_tokens, heard) {
      const dims = [1, prompt.length];
      let begun = false;
      class Listener extends BaseStreamer {
        put([[token]]) {
          if (begun) heard(Number(token));
          begun = true; // what comes first is the prompt
        }
        end() {}
      }
      await model.generate({
        inputs: new Tensor("int64", BigInt64Array.from(prompt, BigInt), dims),
        attention_mask: new Tensor("int64", new BigInt64Array(prompt.length).fill(1n), dims),
        ...{ max_new_tokens, do_sample: false, eos_token_id: null },
        streamer: new Listener(),
      });
    },
  };
}
