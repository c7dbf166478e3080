// Counts what a request took: its tokens, and the seconds of its parts.
import type { Constraint } from "../decode/index.js";
import type { Timing } from "./answer.js";
import type { Usage } from "./types.js";

/** 0 where the clock was set back. */
const secondsSince = (start: number): number => Math.max(0, performance.now() - start) / 1000;

/** Times a request from when it comes, and what holds its answers to rules. */
export class RequestClock {
  private readonly start = performance.now();
  private grammar = false;
  private init = 0;
  private spent = 0;

  /** Times the making of a grammar. */
  async making<T>(make: () => Promise<T>): Promise<T> {
    const start = performance.now();
    const made = await make();
    this.grammar = made !== undefined;
    this.init = secondsSince(start);
    return made;
  }

  /** The same constraints, timed. */
  timing(make: () => Constraint): () => Constraint {
    const timed = <T>(work: () => T): T => {
      const start = performance.now();
      const result = work();
      this.spent += secondsSince(start);
      return result;
    };
    return () => {
      const constraint = make();
      return {
        mask: () => timed(() => constraint.mask()),
        accept: (token) => timed(() => constraint.accept(token)),
        force: () => timed(() => constraint.force()),
      };
    };
  }

  facts(tokens: number): Pick<Usage["extra"], "e2e_latency_s" | "grammar_init_s" | "grammar_per_token_s"> {
    return {
      e2e_latency_s: secondsSince(this.start),
      ...(this.grammar && { grammar_init_s: this.init, grammar_per_token_s: tokens > 0 ? this.spent / tokens : 0 }),
    };
  }
}

/** Choices of one request add up: the first pays for the prompt, the others reuse it. */
export function usageOf(timings: readonly Timing[], clock: RequestClock, reasons: boolean): Usage {
  const first = timings[0]!;
  const tokens = timings.reduce((sum, t) => sum + t.tokens, 0);
  const steps = timings.reduce((sum, t) => sum + Math.max(0, t.tokens - 1), 0);
  const decoding = timings.reduce((sum, t) => sum + t.decoding, 0);
  return {
    prompt_tokens: first.promptTokens,
    completion_tokens: tokens,
    total_tokens: first.promptTokens + tokens,
    ...(reasons && {
      completion_tokens_details: { reasoning_tokens: timings.reduce((sum, t) => sum + t.reasoning, 0) },
    }),
    extra: {
      ...clock.facts(tokens),
      prefill_tokens_per_s: first.toFirst > 0 ? (first.promptTokens - first.cached) / first.toFirst : 0,
      decode_tokens_per_s: decoding > 0 ? steps / decoding : 0,
      time_to_first_token_s: first.toFirst,
      time_per_output_token_s: steps > 0 ? decoding / steps : 0,
      cached_prompt_tokens: first.cached,
    },
  };
}
