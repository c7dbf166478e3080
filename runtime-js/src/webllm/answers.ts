// Gives answers what WebLLM's have: the model's id, one time for all chunks, and prompts counted by their new tokens.
import type { Usage } from "../chat/index.js";
import type { StepTimes } from "../decode/index.js";

interface Answer {
  model: string;
  created: number;
  usage?: Usage;
}

/** Each request has one, which its chunks share. */
export class Dress {
  /** In seconds, as OpenAI's. */
  private readonly created = Math.floor(Date.now() / 1000);
  constructor(
    private readonly model: string,
    private readonly times: (StepTimes & { penaltyTime: number[] }) | undefined,
  ) {}

  whole<T extends Answer>(answer: T): T {
    const { usage } = answer;
    return { ...answer, model: this.model, created: this.created, ...(usage && { usage: this.count(usage) }) };
  }

  async *chunks<T extends Answer>(chunks: AsyncIterable<T>): AsyncGenerator<T, void, void> {
    for await (const chunk of chunks) yield this.whole(chunk);
  }

  /** Tokens that the KV cache held are not prefilled again. */
  count(usage: Usage): Usage {
    const prompt = usage.prompt_tokens - usage.extra.cached_prompt_tokens;
    return {
      ...usage,
      prompt_tokens: prompt,
      total_tokens: prompt + usage.completion_tokens,
      extra: { ...usage.extra, ...(this.times && { latencyBreakdown: this.times }) },
    };
  }
}
