// Generates one answer: it turns tokens into text, ends at stop strings, and counts time and log-probabilities.
import { type CachedTokens, type Constraint, generateTokens, type Model, type TokenLogprobs } from "../decode/index.js";
import type { Host } from "../plan/index.js";
import type { TextCodec } from "../text/codec.js";
import { StopStrings } from "../text/stop.js";
import { StreamDecoder } from "../text/stream.js";
import type { ParsedRequest } from "./request.js";
import type { ContentLogprob, FinishReason, TokenLogprob, Usage } from "./types.js";

export interface AnswerSource {
  readonly model: Model;
  readonly kv: CachedTokens;
  readonly host: Pick<Host, "sample">;
  readonly codec: Pick<TextCodec, "decode" | "token">;
  readonly stopTokens: ReadonlySet<number>;
  readonly depth: number;
  readonly interrupted: () => boolean;
}
export interface Delta {
  readonly text: string;
  readonly logprobs: ContentLogprob[] | undefined;
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

/** Choices of one request add up: the first pays for the prompt, the others reuse it. */
export function usageOf(timings: readonly Timing[]): Usage {
  const first = timings[0]!;
  const tokens = timings.reduce((sum, t) => sum + t.tokens, 0);
  const steps = timings.reduce((sum, t) => sum + Math.max(0, t.tokens - 1), 0);
  const decoding = timings.reduce((sum, t) => sum + t.decoding, 0);
  return {
    prompt_tokens: first.promptTokens,
    completion_tokens: tokens,
    total_tokens: first.promptTokens + tokens,
    extra: {
      prefill_tokens_per_s: first.toFirst > 0 ? (first.promptTokens - first.cached) / first.toFirst : 0,
      decode_tokens_per_s: decoding > 0 ? steps / decoding : 0,
      time_to_first_token_s: first.toFirst,
      cached_prompt_tokens: first.cached,
    },
  };
}

/** Generates one choice of a request; returns why it ended. */
export async function* generateAnswer(
  source: AnswerSource,
  prompt: readonly number[],
  request: ParsedRequest,
  index: number,
  constraint?: Constraint,
): AsyncGenerator<Delta, Answer, void> {
  const { model, kv, host, codec, stopTokens, depth, interrupted } = source;
  const decoder = new StreamDecoder((tokens) => codec.decode(tokens), request.continues ? prompt : []);
  const stops = new StopStrings(request.stop);
  const timing = new Timing();
  timing.promptTokens = prompt.length;
  timing.begin();
  const tokens = generateTokens(model, kv, host, prompt, {
    sampling: { ...request.sampling, seed: (request.sampling.seed + index) | 0 },
    host: request.host,
    maxTokens: request.maxTokens ?? Infinity,
    stopTokens,
    constraint,
    depth,
    interrupted,
    signal: request.signal,
    onCached: (cached) => (timing.cached = cached),
  });
  try {
    for (;;) {
      const next = await tokens.next();
      if (next.done) {
        const rest = stops.push(decoder.flush());
        const text = rest.text + (rest.stopped ? "" : stops.flush());
        if (text) yield { text, logprobs: undefined };
        return { reason: rest.stopped ? "stop" : next.value.reason, timing };
      }
      timing.token();
      const { text, stopped } = stops.push(decoder.push(next.value.token));
      const logprobs = next.value.logprobs && [describeToken(codec, next.value.token, next.value.logprobs)];
      if (text || logprobs) yield { text, logprobs };
      if (stopped) return { reason: "stop", timing };
    }
  } finally {
    await tokens.return(undefined as never).catch(() => {});
  }
}

function describeToken(codec: AnswerSource["codec"], token: number, { logprob, top }: TokenLogprobs): ContentLogprob {
  const describe = (id: number, value: number): TokenLogprob => {
    const text = codec.token(id);
    return { token: text, logprob: value, bytes: [...new TextEncoder().encode(text)] };
  };
  return { ...describe(token, logprob), top_logprobs: top.map(([id, value]) => describe(id, value)) };
}
