// Defines WebLLM's engine on a page, of a worker that has the model.
import { Connection, dialTo, type WorkerSource } from "../../worker/index.js";
import { baseOf, prebuiltAppConfig } from "../config.js";
import { neverLoaded, sizesDiffer, unsupported } from "../errors.js";
import { Place } from "../locate.js";
import { Notes } from "../log.js";
import { Chat, Completions, Embeddings } from "../openai.js";
import { loadOptions } from "../options.js";
import type { AppConfig, ChatOptions, MLCEngineConfig } from "../types/config.js";
import type { InitProgressCallback, LogLevel, MLCEngineInterface } from "../types/engine.js";
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionRequestBase,
  ChatCompletionRequestNonStreaming,
  ChatCompletionRequestStreaming,
  Completion,
  CompletionCreateParamsBase,
  CompletionCreateParamsNonStreaming,
  CompletionCreateParamsStreaming,
  CreateEmbeddingResponse,
  EmbeddingCreateParams,
} from "../types/openai.js";
import type { ResumeProbeResult } from "../types/resumable.js";
import { type Reload, SERVICE } from "./methods.js";

export class WebWorkerMLCEngine implements MLCEngineInterface {
  readonly chat = new Chat(this);
  readonly completions = new Completions(this);
  readonly embeddings = new Embeddings(this);
  /** What is loaded, or is to be. */
  modelId: string[] | undefined;
  chatOpts: ChatOptions[] | undefined;
  protected readonly notes = new Notes();
  private readonly place: Place;
  private config: MLCEngineConfig;
  private onProgress: InitProgressCallback | undefined;
  private connection: Promise<Connection> | undefined;
  private last: readonly unknown[] = [];

  /** `worker`'s script has a WebWorkerMLCEngineHandler; a function makes it anew when it has ended. */
  constructor(
    readonly worker: WorkerSource,
    engineConfig: MLCEngineConfig = {},
  ) {
    const { initProgressCallback, logitProcessorRegistry, ...config } = engineConfig;
    if (config.logLevel) this.notes.set(config.logLevel);
    loadOptions(config, this.notes);
    if (logitProcessorRegistry)
      this.notes.unused("logitProcessorRegistry", "functions cannot cross; call the handler's in the worker.");
    this.onProgress = initProgressCallback;
    this.config = config;
    // Fixed now, and this page's: the worker's URL is another.
    this.place = new Place(config.baseUrl ?? baseOf(config.appConfig ?? prebuiltAppConfig));
  }

  setAppConfig(appConfig: AppConfig): void {
    this.config = { ...this.config, appConfig };
  }
  setInitProgressCallback(initProgressCallback?: InitProgressCallback): void {
    this.onProgress = initProgressCallback;
  }
  getInitProgressCallback(): InitProgressCallback | undefined {
    return this.onProgress;
  }
  setLogLevel(logLevel: LogLevel): void {
    this.notes.set(logLevel);
    this.config = { ...this.config, logLevel };
    if (this.connection) this.call("setLogLevel", logLevel).catch(() => {}); // the next load sends it too
  }

  async reload(modelId: string | string[], chatOpts?: ChatOptions | ChatOptions[]): Promise<void> {
    const ids = typeof modelId === "string" ? [modelId] : [...modelId];
    const options = chatOpts === undefined || Array.isArray(chatOpts) ? chatOpts : [chatOpts];
    if (options && options.length !== ids.length) throw sizesDiffer(ids.length, options.length);
    this.modelId = ids;
    this.chatOpts = options;
    const asked: Reload = { ids, chatOpts: options };
    const { signal, ...config } = this.config;
    const again = {
      ...config,
      baseUrl: this.place.base,
      ...(config.catalog && { catalog: this.place.absolute(config.catalog) }),
      initProgressCallback: (report: Parameters<InitProgressCallback>[0]) => this.onProgress?.(report),
    };
    this.last = [asked, again];
    await this.call("reload", asked, signal ? { ...again, signal } : again);
  }

  chatCompletion(request: ChatCompletionRequestNonStreaming): Promise<ChatCompletion>;
  chatCompletion(request: ChatCompletionRequestStreaming): Promise<AsyncIterable<ChatCompletionChunk>>;
  chatCompletion(request: ChatCompletionRequestBase): Promise<AsyncIterable<ChatCompletionChunk> | ChatCompletion>;
  chatCompletion(request: ChatCompletionRequestBase): Promise<AsyncIterable<ChatCompletionChunk> | ChatCompletion> {
    return this.ask("chatCompletion", request);
  }
  completion(request: CompletionCreateParamsNonStreaming): Promise<Completion>;
  completion(request: CompletionCreateParamsStreaming): Promise<AsyncIterable<Completion>>;
  completion(request: CompletionCreateParamsBase): Promise<AsyncIterable<Completion> | Completion>;
  completion(request: CompletionCreateParamsBase): Promise<AsyncIterable<Completion> | Completion> {
    return this.ask("completion", request);
  }
  embedding(request: EmbeddingCreateParams): Promise<CreateEmbeddingResponse> {
    return this.ask("embedding", request);
  }
  async listResumableSessions(): Promise<ResumeProbeResult[]> {
    return [];
  }
  async resumeChatCompletion(sessionId: string): Promise<never> {
    throw unsupported("sessionId", `there is no session ${sessionId}: generation is not kept on disk.`);
  }
  async deleteResumableSession(_sessionId: string): Promise<void> {}

  interruptGenerate(): void {
    this.call("interruptGenerate").catch(() => {}); // who waits for the answer hears of what is wrong
  }
  unload(): Promise<void> {
    this.modelId = this.chatOpts = undefined;
    return this.call("unload");
  }
  resetChat(keepStats = false, modelId?: string): Promise<void> {
    return this.call("resetChat", keepStats, modelId);
  }
  getMessage(modelId?: string): Promise<string> {
    return this.call("getMessage", modelId);
  }
  runtimeStatsText(modelId?: string): Promise<string> {
    return this.call("runtimeStatsText", modelId);
  }
  forwardTokensAndSample(inputIds: number[], isPrefill: boolean, modelId?: string): Promise<number> {
    return this.call("forwardTokensAndSample", inputIds, isPrefill, modelId);
  }
  getMaxStorageBufferBindingSize(): Promise<number> {
    return this.call("getMaxStorageBufferBindingSize");
  }
  getGPUVendor(): Promise<string> {
    return this.call("getGPUVendor");
  }

  private async ask<T>(method: string, request: unknown): Promise<T> {
    if (!this.modelId) throw neverLoaded();
    return this.call(method, request);
  }

  private async call<T>(method: string, ...args: unknown[]): Promise<T> {
    this.connection ??= this.open();
    const connection = await this.connection.catch((error) => {
      this.connection = undefined; // the next call tries again
      throw error;
    });
    return connection.call(method, ...args) as Promise<T>;
  }

  private open(): Promise<Connection> {
    return Connection.open(dialTo(this.worker), {
      service: SERVICE,
      callbacks: ["initProgressCallback", "onWarning"],
      revive: async (call) => {
        if (this.modelId) await call("reload", ...this.last);
      },
      keepAlive: true,
    });
  }
}

/** `worker` runs a script that has a WebWorkerMLCEngineHandler. */
export async function CreateWebWorkerMLCEngine(
  worker: WorkerSource,
  modelId: string | string[],
  engineConfig?: MLCEngineConfig,
  chatOpts?: ChatOptions | ChatOptions[],
): Promise<WebWorkerMLCEngine> {
  const engine = new WebWorkerMLCEngine(worker, engineConfig);
  await engine.reload(modelId, chatOpts);
  return engine;
}
