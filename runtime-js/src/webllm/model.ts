// Holds one loaded model, and answers its requests.
import type { ChatRequest, CompletionRequest, Observer } from "../chat/index.js";
import { CancelledError } from "../errors.js";
import type { Engine } from "../index.js";
import { Dress } from "./answers.js";
import { leniently } from "./messages.js";
import { refusal } from "./names.js";
import type { Defaults } from "./options.js";
import { prepare } from "./requests.js";
import type { LogitProcessor } from "./types/engine.js";
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionRequestBase,
  Completion,
  CompletionCreateParamsBase,
  CreateEmbeddingResponse,
  EmbeddingCreateParams,
} from "./types/openai.js";

export class LoadedModel {
  /** The last choice's words, as far as they are there. */
  message = "";
  private prefill = 0;
  private decode = 0;
  /** What the last chat was about, which one that goes on begins with. */
  private conversation: readonly unknown[] = [];

  constructor(
    readonly id: string,
    readonly engine: Engine,
    private readonly defaults: Defaults,
    private readonly processor: () => LogitProcessor | undefined,
  ) {}

  async chat(request: ChatCompletionRequestBase): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>> {
    const { body, times } = prepare(request, this.defaults);
    const { completions } = this.engine.chat;
    const processor = this.processor();
    const { messages } = body;
    if (!this.continues(messages)) processor?.resetState();
    const dress = new Dress(this.id, times);
    const answer = await leniently(messages, (simpler) => {
      const asked = { ...body, messages: simpler } as unknown as ChatRequest;
      return completions.observe(asked, this.observer(), { processor, times });
    }).catch(rethrow(body));
    this.conversation = Array.isArray(messages) ? [...messages] : [];
    return Symbol.asyncIterator in answer ? dress.chunks(answer) : dress.whole(answer);
  }

  async complete(request: CompletionCreateParamsBase): Promise<Completion | AsyncIterable<Completion>> {
    const { body, times } = prepare(request, this.defaults);
    const processor = this.processor();
    processor?.resetState();
    const dress = new Dress(this.id, times);
    const asked = body as unknown as CompletionRequest;
    const answer = await this.engine.completions
      .observe(asked, this.observer(), { processor, times })
      .catch(rethrow(body));
    return Symbol.asyncIterator in answer ? dress.chunks(answer) : dress.whole(answer);
  }

  /** Vectors of texts, of a model for that. */
  async embed(request: EmbeddingCreateParams): Promise<CreateEmbeddingResponse> {
    const answer = await this.engine.embeddings.create(request).catch(rethrow({ ...request }));
    return { ...answer, model: this.id } as CreateEmbeddingResponse; // base64 is text, which WebLLM's types leave out
  }

  /** The token that follows what the KV cache holds and these, which it holds then. */
  async forward(tokens: readonly number[], isPrefill: boolean): Promise<number> {
    const start = performance.now();
    const asked = { ...this.defaults, max_tokens: 1, stop_tokens: [] };
    const extras = { goesOn: true, processor: this.processor() };
    for await (const { token } of this.engine.generate(tokens, asked, extras)) {
      this[isPrefill ? "prefill" : "decode"] = (tokens.length * 1000) / Math.max(1e-3, performance.now() - start);
      return token;
    }
    throw new CancelledError("Interrupted.");
  }

  async reset(keepStats: boolean): Promise<void> {
    await this.engine.reset();
    this.processor()?.resetState();
    this.conversation = [];
    this.message = "";
    if (!keepStats) this.prefill = this.decode = 0;
  }

  stats(): string {
    return `prefill: ${this.prefill.toFixed(4)} tokens/sec, decoding: ${this.decode.toFixed(4)} tokens/sec`;
  }

  /** Whether a chat begins with the whole chat before it. */
  private continues(messages: unknown): boolean {
    const before = this.conversation;
    if (!Array.isArray(messages) || before.length === 0 || messages.length <= before.length) return false;
    return JSON.stringify(messages.slice(0, before.length)) === JSON.stringify(before);
  }

  private observer(): Observer {
    let text = "",
      index = 0;
    return {
      event: (event) => {
        if (event.index !== index) text = "";
        index = event.index;
        text += event.text;
        this.message = text;
      },
      usage: ({ extra }) => {
        this.prefill = extra.prefill_tokens_per_s;
        this.decode = extra.decode_tokens_per_s;
      },
    };
  }
}

const rethrow =
  (body: Readonly<Record<string, unknown>>) =>
  (error: unknown): never => {
    throw refusal(error, body);
  };
