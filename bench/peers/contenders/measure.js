// Measures every contender alike: a prompt up to its first token, and the greedy tokens that follow it.

const WORDS = (
  "the of and in to was is for on as with by that from at his it an were are which this be had also has their one " +
  "after who its but not they have been more her two first"
).split(" ");

/** Text of exactly `count` tokens, by the tokenizer that `length` asks. */
export async function promptOf(count, length) {
  let state = 12345,
    text = "";
  for (;;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const longer = `${text}${text && " "}${WORDS[state % WORDS.length]}`;
    const tokens = await length(longer);
    if (tokens === count) return longer;
    if (tokens > count) break;
    text = longer;
  }
  // A word was too much: what is left is filled with shorter ends.
  for (let i = 0; i < count; i++) {
    text += "x.?!"[i % 4];
    if ((await length(text)) === count) return text;
  }
  throw new Error(`no prompt of exactly ${count} tokens was found`);
}

/** One run. What an engine yields is a token, or several at once; the last, with `end`, says how many. */
async function run(contender, prompt, decode) {
  const start = performance.now();
  let first = 0,
    last = 0,
    pieces = 0,
    promptTokens,
    tokens;
  for await (const said of contender.answer(prompt, decode + 1)) {
    promptTokens = said.promptTokens ?? promptTokens;
    tokens = said.tokens ?? tokens;
    if (said.end) continue;
    last = performance.now();
    first ||= last;
    pieces++;
  }
  tokens ??= pieces;
  if (tokens !== decode + 1) throw new Error(`${tokens} tokens came instead of ${decode + 1}`);
  return { first_s: (first - start) / 1000, decode_tokens_per_s: (tokens - 1) / ((last - first) / 1000), promptTokens };
}

/** Medians after a warm-up. */
export async function measure(contender, prompt, promptTokens, decode, repeats) {
  await run(contender, prompt, Math.min(decode, 4));
  const runs = [];
  for (let i = 0; i < repeats; i++) runs.push(await run(contender, prompt, decode));
  const median = (key) => runs.map((r) => r[key]).sort((a, b) => a - b)[runs.length >> 1];
  return {
    prompt_tokens: runs[0].promptTokens ?? promptTokens,
    first_token_s: median("first_s"),
    prefill_tokens_per_s: promptTokens / median("first_s"),
    decode_tokens_per_s: median("decode_tokens_per_s"),
    repeats,
  };
}
