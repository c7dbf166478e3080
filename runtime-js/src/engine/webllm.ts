// Offers WebLLM's names over Engine, so that a page can switch by changing its import and its model's URL.
import type { ChatCompletion, ChatCompletionChunk, ChatRequest, Usage } from "../chat/index.js";
import { InvalidRequestError, UnloadedError } from "../errors.js";
import { Engine } from "./engine.js";
import type { LoadOptions } from "./options.js";

export interface InitProgressReport {
  progress: number;
  timeElapsed: number;
  text: string;
}
export interface MLCEngineConfig extends Omit<LoadOptions, "onProgress"> {
  initProgressCallback?: (report: InitProgressReport) => void;
  /** Where model ids are folders; a model given as a URL needs none. */
  baseUrl?: string;
}

/** Where a model's bundle is, and what its id asks for. WebLLM's ids end in `-MLC`, which no bundle's name has, and in
 * `-MLC-1k` for the same weights with 1024 tokens of context. */
export function locate(modelId: string, baseUrl: string | undefined): { url: string; contextLength?: number } {
  const [path, query] = split(modelId);
  if (path.includes("/")) {
    const relative = baseUrl !== undefined && !/^([a-z]+:)?\/\//i.test(modelId);
    return { url: relative ? join(baseUrl, path, query) : modelId };
  }
  const [, name = path, short] = /^(.*)-MLC(-1k)?$/.exec(path) ?? [];
  const url = baseUrl === undefined ? name + query : join(baseUrl, name, query);
  return short === undefined ? { url } : { url, contextLength: 1024 };
}

/** The part of a URL before its query, and the query. The fragment is dropped. */
function split(url: string): [path: string, query: string] {
  const [, path, query] = /^([^?#]*)(\?[^#]*)?/.exec(url)!;
  return [path!, query ?? ""];
}

/** A folder in another, with the queries of both. */
function join(base: string, name: string, query: string): string {
  const [path, own] = split(base);
  return `${path.replace(/\/?$/, "/")}${name}${own && query ? `${own}&${query.slice(1)}` : own || query}`;
}

export class MLCEngine {
  private engine: Engine | undefined;
  private model = "";
  private usage: Usage | undefined;

  constructor(private readonly config: MLCEngineConfig = {}) {}

  readonly chat = {
    completions: {
      create: ((request: ChatRequest) => this.create(request)) as Engine["chat"]["completions"]["create"],
    },
  };

  setInitProgressCallback(callback: (report: InitProgressReport) => void): void {
    this.config.initProgressCallback = callback;
  }

  async reload(modelId: string | string[]): Promise<void> {
    if (Array.isArray(modelId) && modelId.length !== 1)
      throw new InvalidRequestError("modelId", "one engine holds one model.");
    const id = typeof modelId === "string" ? modelId : modelId[0]!;
    await this.unload();
    const { initProgressCallback, baseUrl, ...options } = this.config;
    const started = performance.now();
    const { url, ...asked } = locate(id, baseUrl);
    this.engine = await Engine.load(url, {
      ...asked,
      ...options,
      onProgress: (p) =>
        initProgressCallback?.({
          progress: p.fraction,
          timeElapsed: (performance.now() - started) / 1000,
          text: p.text,
        }),
    });
    this.model = id;
  }

  chatCompletion(request: ChatRequest): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>> {
    return this.create(request);
  }
  interruptGenerate(): void {
    this.engine?.interrupt();
  }
  async resetChat(): Promise<void> {
    await this.engine?.reset();
  }
  async getMessage(): Promise<string> {
    return this.message;
  }
  async unload(): Promise<void> {
    await this.engine?.unload();
    this.engine = undefined;
  }
  async runtimeStatsText(): Promise<string> {
    const { prefill_tokens_per_s: prefill = 0, decode_tokens_per_s: decode = 0 } = this.usage?.extra ?? {};
    return `prefill: ${prefill.toFixed(1)} tokens/sec, decoding: ${decode.toFixed(1)} tokens/sec`;
  }
  getLoadedModelIds(): string[] {
    return this.engine ? [this.model] : [];
  }

  private message = "";

  private async create(request: ChatRequest): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>> {
    if (!this.engine) throw new UnloadedError("No model is loaded.");
    let text = "";
    return this.engine.chat.completions.observe(request, {
      event: (event) => {
        if (event.index === 0) text += event.text;
        this.message = text;
      },
      usage: (usage) => {
        this.usage = usage;
      },
    });
  }
}

export async function CreateMLCEngine(modelIdOrUrl: string, config: MLCEngineConfig = {}): Promise<MLCEngine> {
  const engine = new MLCEngine(config);
  await engine.reload(modelIdOrUrl);
  return engine;
}
