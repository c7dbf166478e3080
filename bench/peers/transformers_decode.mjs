// What bench/peers/transformers.mjs asks and tells of a decoder.

export const DECODE = {
  help: `a prompt's first token, and the greedy tokens after it
  --prompt N       tokens of the prompt (512; in software 32)
  --decode N       tokens after the first (128; in software 8)`,
  page: { file: "decode.js", run: "compareDecoding" },
  defaults: { prompt: 512, decode: 128 },
  software: { repeats: 1, prompt: 32, decode: 8 },
  told({ settings: { prompt, decode, repeats } }) {
    const turns = repeats === 1 ? "one turn" : `medians of ${repeats} turns`;
    return `a prompt of ${prompt} tokens up to the first one, then ${decode} greedy tokens; ${turns} after a warm-up`;
  },
  head: ["model", "size", "load", "first token", "prefill, tokens/s", "ours is", "decode, tokens/s", "ours is"],
  rows({ bytes, measured }) {
    const [ours] = measured;
    const rate = (value) => value.toFixed(value < 100 ? 2 : 0);
    return measured.map((one) => [
      one.name,
      `${(bytes[one.name] / 1e6).toFixed(0)} MB`,
      `${one.load_s.toFixed(2)} s`,
      `${one.first_s.toFixed(3)} s`,
      rate(one.prefill_tokens_per_s),
      `${(ours.prefill_tokens_per_s / one.prefill_tokens_per_s).toFixed(2)} x`,
      rate(one.decode_tokens_per_s),
      `${(ours.decode_tokens_per_s / one.decode_tokens_per_s).toFixed(2)} x`,
    ]);
  },
};
