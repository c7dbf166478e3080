// Generates one answer: it turns tokens into text, ends at stop strings, and counts time and log-probabilities.
import { type CachedTokens, type Constraint, generateTokens, type Model, type TokenLogprobs } from "../decode/index.js";
import type { Host } from "../plan/index.js";
import type { TextCodec } from "../text/codec.js";
import type { ParsedRequest } from "./request.js";
import type { ContentLogprob, FinishReason, TokenLogprob } from "./types.js";
import { type Delta, NOTHING, Words } from "./words.js";

export interface AnswerSource {
  /** Read again after `recover`. */
  readonly model: Model;
  readonly kv: CachedTokens;
  readonly host: Pick<Host, "sample">;
  readonly codec: Pick<TextCodec, "decode" | "token">;
  readonly stopTokens: ReadonlySet<number>;
  readonly depth: number;
  readonly interrupted: () => boolean;
  /** Resolves with the prompt for the model that is there in the place of one that failed with the error; rejects where
   * there is none. */
  readonly recover?: ((error: unknown) => Promise<readonly number[]>) | undefined;
}
export interface Answer {
  readonly reason: FinishReason;
  readonly timing: Timing;
}

export class Timing {
  private start = 0;
  private first = 0;
  private last = 0;
  promptTokens = 0;
  cached = 0;
  tokens = 0;
  /** Of the tokens, those of reasoning. */
  reasoning = 0;
  begin(): void {
    this.start = performance.now();
  }
  token(): void {
    this.last = performance.now();
    if (this.tokens++ === 0) this.first = this.last;
  }
  get toFirst(): number {
    return this.tokens ? (this.first - this.start) / 1000 : 0;
  }
  get decoding(): number {
    return this.tokens ? (this.last - this.first) / 1000 : 0;
  }
}

/** Generates one choice of a request; returns why it ended. */
export async function* generateAnswer(
  source: AnswerSource,
  prompt: readonly number[],
  request: ParsedRequest,
  index: number,
  constraint?: Constraint,
): AsyncGenerator<Delta, Answer, void> {
  const { kv, host, codec, stopTokens, depth, interrupted, recover } = source;
  const timing = new Timing();
  timing.promptTokens = prompt.length;
  timing.begin();
  const words = new Words(codec, prompt, request, timing);
  const budget = request.reading?.budget();
  const limit = Math.min(request.maxTokens ?? Infinity, source.model.contextLength - prompt.length);
  const answer: number[] = [];
  let asked = prompt;
  let forced = budget?.force() ?? [];
  // Where reasoning has had its tokens, those that end it are put after it, and the model goes on from there.
  for (let round = 0; ; round++) {
    for (const token of forced.slice(0, limit - answer.length)) {
      answer.push(token);
      constraint?.accept(token);
      const delta = words.add(token, undefined);
      if (delta !== NOTHING) yield delta;
    }
    if (answer.length > 0 && answer.length >= limit) {
      const rest = words.end();
      if (rest !== NOTHING) yield rest;
      return { reason: words.reason("length"), timing };
    }
    forced = [];
    const before = [...answer];
    const tokens = generateTokens(source.model, kv, host, [...asked, ...before], {
      sampling: { ...request.sampling, seed: (request.sampling.seed + index + round * request.n) | 0 },
      host: request.host,
      maxTokens: limit - answer.length,
      stopTokens,
      constraint,
      depth,
      interrupted,
      signal: request.signal,
      recover:
        recover &&
        (async (error) => {
          asked = await recover(error);
          return { model: source.model, prompt: [...asked, ...before] };
        }),
      onCached: (cached) => {
        if (round === 0) timing.cached = cached;
      },
    });
    try {
      while (forced.length === 0) {
        const next = await tokens.next();
        if (next.done) {
          const rest = words.end();
          if (rest !== NOTHING) yield rest;
          return { reason: words.reason(next.value.reason), timing };
        }
        const { token, logprobs } = next.value;
        answer.push(token);
        const delta = words.add(token, logprobs && describeToken(codec, token, logprobs));
        if (delta !== NOTHING) yield delta;
        if (words.stopped) return { reason: words.reason("stop"), timing };
        budget?.accept(token);
        forced = budget?.force() ?? [];
      }
    } finally {
      await tokens.return(undefined as never).catch(() => {});
    }
  }
}

function describeToken(codec: AnswerSource["codec"], token: number, { logprob, top }: TokenLogprobs): ContentLogprob {
  const describe = (id: number, value: number): TokenLogprob => {
    const text = codec.token(id);
    return { token: text, logprob: value, bytes: [...new TextEncoder().encode(text)] };
  };
  return { ...describe(token, logprob), top_logprobs: top.map(([id, value]) => describe(id, value)) };
}
