// Measures prefill and decode as a user sees them: through the real loop, with tokens read back in order.
import { ContextLengthError } from "../errors.js";
import type { Engine } from "./engine.js";
import { RAW } from "./raw.js";

export interface BenchOptions {
  readonly prefill?: number;
  readonly decode?: number;
  readonly context?: number;
  readonly repeats?: number;
}
export interface BenchReport {
  readonly prefill_tokens: number;
  readonly decode_tokens: number;
  readonly context: number;
  /** One value a repeat, after one warm-up that is not counted. */
  readonly prefill_tokens_per_s: readonly number[];
  readonly decode_tokens_per_s: readonly number[];
  readonly time_to_first_token_s: readonly number[];
  readonly median: {
    readonly prefill_tokens_per_s: number;
    readonly decode_tokens_per_s: number;
    readonly time_to_first_token_s: number;
  };
}

export async function bench(
  engine: Engine,
  { prefill = 512, decode = 128, context = 512, repeats = 5 }: BenchOptions = {},
): Promise<BenchReport> {
  const { contextLength, model } = engine.info;
  const longest = Math.max(prefill + 1, context + decode + 1);
  if (longest > contextLength) throw new ContextLengthError(longest, contextLength);
  const prompt = tokens(Math.max(prefill, context), model.vocab_size);
  const prefills: number[] = [],
    decodes: number[] = [],
    firsts: number[] = [];
  for (let i = 0; i <= repeats; i++) {
    await engine.reset();
    const first = await timed(engine, prompt.slice(0, prefill), 1);
    await engine.reset();
    const long = await timed(engine, prompt.slice(0, context), decode + 1);
    if (i === 0 && repeats > 0) continue;
    prefills.push(prefill / first.toFirst);
    firsts.push(first.toFirst);
    decodes.push(decode / long.after);
  }
  const median = (values: number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;
  return {
    prefill_tokens: prefill,
    decode_tokens: decode,
    context,
    prefill_tokens_per_s: prefills,
    decode_tokens_per_s: decodes,
    time_to_first_token_s: firsts,
    median: {
      prefill_tokens_per_s: median(prefills),
      decode_tokens_per_s: median(decodes),
      time_to_first_token_s: median(firsts),
    },
  };
}

async function timed(engine: Engine, prompt: number[], count: number): Promise<{ toFirst: number; after: number }> {
  const start = performance.now();
  let first = 0;
  for await (const _ of engine.generate(prompt, { max_tokens: count, ...RAW })) first ||= performance.now();
  return { toFirst: (first - start) / 1000, after: (performance.now() - first) / 1000 };
}

/** Arbitrary tokens, the same every time. */
function tokens(count: number, vocab: number): number[] {
  let state = 12345;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state % vocab;
  });
}
