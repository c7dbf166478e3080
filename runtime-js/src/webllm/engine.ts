// Offers WebLLM's MLCEngine over Engine.
import { type AdapterFacts, requestAdapter } from "../device/index.js";
import type { LoadOptions } from "../engine/options.js";
import { InvalidRequestError, throwIfAborted } from "../errors.js";
import { Engine, findInCatalog, isInCache, type Warning } from "../index.js";
import { baseOf, prebuiltAppConfig } from "./config.js";
import { modelNotFound, modelTwice, renamed, sizesDiffer, unsupported } from "./errors.js";
import { type Located, Place } from "./locate.js";
import { Notes } from "./log.js";
import { LoadedModel } from "./model.js";
import { Models } from "./models.js";
import { Chat, Completions, Embeddings } from "./openai.js";
import { chosen, loadOptions, noteApp } from "./options.js";
import { finished, reportOf } from "./progress.js";
import type { AppConfig, ChatOptions, MLCEngineConfig } from "./types/config.js";
import type { InitProgressCallback, LogitProcessor, LogLevel, MLCEngineInterface } from "./types/engine.js";
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
} from "./types/openai.js";
import type { ResumeProbeResult } from "./types/resumable.js";

export class MLCEngine implements MLCEngineInterface {
  readonly chat = new Chat(this);
  readonly completions = new Completions(this);
  readonly embeddings = new Embeddings(this);
  private readonly models = new Models();
  private readonly notes = new Notes();
  private options: LoadOptions = {};
  private baseUrl: string | undefined;
  private catalog: string | undefined;
  private app = prebuiltAppConfig;
  private place = new Place(undefined);
  private onProgress: InitProgressCallback | undefined;
  private registry: Map<string, LogitProcessor> | undefined;

  constructor(engineConfig: MLCEngineConfig = {}) {
    this.registry = engineConfig.logitProcessorRegistry;
    this.configure(engineConfig);
  }

  /** @internal All but the registry, of an engine that is there: a worker's gets a page's. */
  configure(config: MLCEngineConfig): void {
    this.notes.set(config.logLevel ?? "WARN");
    this.options = loadOptions(config, this.notes);
    this.baseUrl = config.baseUrl;
    this.onProgress = config.initProgressCallback;
    this.setAppConfig(config.appConfig ?? prebuiltAppConfig);
    this.catalog = config.catalog && this.place.absolute(config.catalog);
  }

  /** @internal Whether these models are loaded, and the GPU is there. */
  has(ids: readonly string[]): boolean {
    try {
      for (const { engine } of this.models.all) void engine.info;
      return JSON.stringify(this.models.ids) === JSON.stringify(ids);
    } catch {
      return false;
    }
  }

  setAppConfig(appConfig: AppConfig): void {
    if (!Array.isArray(appConfig?.model_list)) throw new InvalidRequestError("appConfig.model_list", "must be a list.");
    noteApp(appConfig, this.notes);
    this.app = appConfig;
    this.place = new Place(this.baseUrl ?? baseOf(appConfig));
  }
  setInitProgressCallback(initProgressCallback?: InitProgressCallback): void {
    this.onProgress = initProgressCallback;
  }
  getInitProgressCallback(): InitProgressCallback | undefined {
    return this.onProgress;
  }
  setLogitProcessorRegistry(logitProcessorRegistry?: Map<string, LogitProcessor>): void {
    this.registry = logitProcessorRegistry;
  }
  setLogLevel(logLevel: LogLevel): void {
    this.notes.set(logLevel);
  }

  /** Loads models in place of those that are there. A later reload stops it, and then it rejects. So does `unload`, and
   * then it ends with a warning, as apps of WebLLM expect. */
  async reload(modelId: string | string[], chatOpts?: ChatOptions | ChatOptions[]): Promise<void> {
    const ids = typeof modelId === "string" ? [modelId] : [...modelId];
    const options = chatOpts === undefined ? [] : Array.isArray(chatOpts) ? chatOpts : [chatOpts];
    if (chatOpts !== undefined && options.length !== ids.length) throw sizesDiffer(ids.length, options.length);
    if (new Set(ids).size < ids.length) throw modelTwice(ids);
    const found = ids.map((id) => this.place.find(id, this.app, this.app !== prebuiltAppConfig));
    const loads = found.map((located, i) => (signal: AbortSignal) => this.load(ids[i]!, located, options[i], signal));
    if (!(await this.models.replace(loads))) this.notes.warn("unload() stopped a reload.");
  }

  chatCompletion(request: ChatCompletionRequestNonStreaming): Promise<ChatCompletion>;
  chatCompletion(request: ChatCompletionRequestStreaming): Promise<AsyncIterable<ChatCompletionChunk>>;
  chatCompletion(request: ChatCompletionRequestBase): Promise<AsyncIterable<ChatCompletionChunk> | ChatCompletion>;
  async chatCompletion(
    request: ChatCompletionRequestBase,
  ): Promise<AsyncIterable<ChatCompletionChunk> | ChatCompletion> {
    return this.models.pick(request?.model, "ChatCompletionRequest").chat(request);
  }

  completion(request: CompletionCreateParamsNonStreaming): Promise<Completion>;
  completion(request: CompletionCreateParamsStreaming): Promise<AsyncIterable<Completion>>;
  completion(request: CompletionCreateParamsBase): Promise<AsyncIterable<Completion> | Completion>;
  async completion(request: CompletionCreateParamsBase): Promise<AsyncIterable<Completion> | Completion> {
    return this.models.pick(request?.model, "CompletionCreateParams").complete(request);
  }

  async embedding(request: EmbeddingCreateParams): Promise<CreateEmbeddingResponse> {
    return this.models.pick(request?.model, "EmbeddingCreateParams").embed(request);
  }

  async listResumableSessions(): Promise<ResumeProbeResult[]> {
    return [];
  }
  async resumeChatCompletion(sessionId: string): Promise<never> {
    throw unsupported("sessionId", `there is no session ${sessionId}: generation is not kept on disk.`);
  }
  async deleteResumableSession(_sessionId: string): Promise<void> {}

  interruptGenerate(): void {
    for (const { engine } of this.models.all) engine.interrupt();
  }
  async resetChat(keepStats = false, modelId?: string): Promise<void> {
    await this.models.pickLoaded(modelId, "resetChat")?.reset(keepStats);
  }
  async getMessage(modelId?: string): Promise<string> {
    return this.models.pick(modelId, "getMessage").message;
  }
  async runtimeStatsText(modelId?: string): Promise<string> {
    return this.models.pick(modelId, "runtimeStatsText").stats();
  }
  async forwardTokensAndSample(inputIds: number[], isPrefill: boolean, modelId?: string): Promise<number> {
    return this.models.pick(modelId, "forwardTokensAndSample").forward(inputIds, isPrefill);
  }
  async unload(): Promise<void> {
    await this.models.unload();
  }
  getLoadedModelIds(): string[] {
    return this.models.ids;
  }

  async getMaxStorageBufferBindingSize(): Promise<number> {
    return (await this.adapter()).limits.maxStorageBufferBindingSize;
  }
  async getGPUVendor(): Promise<string> {
    return (await this.adapter()).info.vendor;
  }

  private adapter(): Promise<GPUAdapter> {
    return requestAdapter(this.options.powerPreference).catch((error) => {
      throw renamed(error);
    });
  }

  private async load(
    id: string,
    located: Located,
    chatOpts: ChatOptions | undefined,
    signal: AbortSignal,
  ): Promise<LoadedModel> {
    const url = await this.urlOf(id, located, signal);
    const { contextLength, defaults } = chosen(located, chatOpts, this.options, this.notes);
    const started = performance.now();
    const seconds = (): number => (performance.now() - started) / 1000;
    const cached = this.onProgress !== undefined && (await isInCache(url).catch(() => false));
    const options: LoadOptions = {
      onWarning: ({ message }) => this.notes.warn(message),
      debug: this.notes.debug,
      ...this.options,
      signal: both(signal, this.options.signal),
      onProgress: (progress) => {
        if (progress.stage !== "ready") this.onProgress?.(reportOf(progress, cached, seconds()));
      },
      ...(contextLength !== undefined && { contextLength }),
    };
    const engine = await this.open(url, options).catch((error) => {
      throw renamed(error);
    });
    try {
      throwIfAborted(signal);
      this.onProgress?.(finished(labels(engine.info.adapter), seconds()));
    } catch (error) {
      await engine.unload(); // the app's own callback may throw too
      throw error;
    }
    return new LoadedModel(id, engine, defaults, () => this.registry?.get(id));
  }

  /** A record, and an id that is a path, say where the bundle is; any other id is looked up in the catalog. */
  private async urlOf(id: string, { url, record }: Located, signal: AbortSignal): Promise<string> {
    const { catalog } = this;
    if (catalog === undefined || (record && this.app !== prebuiltAppConfig) || id.includes("/")) return url;
    const { fetch, cache, powerPreference } = this.options;
    const onWarning = ({ message }: Warning): void => this.notes.warn(message);
    return findInCatalog({ catalog, model: id }, { fetch, cache, powerPreference, signal, onWarning }).catch(
      (error) => {
        throw error instanceof InvalidRequestError && error.param === "model" ? modelNotFound(id) : renamed(error);
      },
    );
  }

  /** A window that is larger than the bundle's is made the bundle's. */
  private async open(url: string, options: LoadOptions): Promise<Engine> {
    try {
      return await Engine.load(url, options);
    } catch (error) {
      if (!(error instanceof InvalidRequestError) || error.param !== "contextLength") throw error;
      this.notes.warn(`context_window_size ${options.contextLength} is not possible; ${error.message}`);
      return Engine.load(url, { ...options, contextLength: undefined });
    }
  }
}

const labels = ({ description, vendor }: AdapterFacts): { description?: string; vendor?: string } => ({
  ...(description && { description }),
  ...(vendor && { vendor }),
});

const both = (one: AbortSignal, other: AbortSignal | undefined): AbortSignal =>
  other ? AbortSignal.any([one, other]) : one;

/** `modelId` is a model's or several; `chatOpts` as many. */
export async function CreateMLCEngine(
  modelId: string | string[],
  engineConfig?: MLCEngineConfig,
  chatOpts?: ChatOptions | ChatOptions[],
): Promise<MLCEngine> {
  const engine = new MLCEngine(engineConfig);
  await engine.reload(modelId, chatOpts);
  return engine;
}
