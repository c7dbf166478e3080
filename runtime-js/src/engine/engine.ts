// Defines the engine that a page holds: one model on one device.
import type { Manifest } from "../bundle/index.js";
import {
  type Backend,
  ChatCompletions,
  Completions,
  type HostExtras,
  inTurn,
  parseSampling,
  Queue,
  type SamplingRequest,
} from "../chat/index.js";
import type { CheckOptions, EngineCheck } from "../check/index.js";
import { CachedTokens, type GeneratedToken, type GenerateEnd, GpuModel, generateTokens } from "../decode/index.js";
import { checkPrompt, prefillAllButLast } from "../decode/loop.js";
import type { AdapterFacts, MemoryUse } from "../device/index.js";
import type { EmbeddingAnswer, EmbeddingRequest, RerankAnswer, RerankRequest } from "../embed/index.js";
import type { Texts } from "../embed/texts.js";
import { BundleError, CancelledError, InvalidRequestError, UnloadedError } from "../errors.js";
import { sampleSize } from "../images/facts.js";
import type { Size } from "../images/tiles.js";
import type { ProfileOptions, ProfileReport } from "../profile/index.js";
import type { ChatTurn, RenderOptions } from "../text/template.js";
import type { Activations } from "./activations.js";
import { answerOn } from "./answering.js";
import { type CataloguedModel, findInCatalog } from "./catalogued.js";
import { LazyConstrainer } from "./constrainer.js";
import { Eyes } from "./eyes.js";
import { type Answering, free, Held } from "./held.js";
import { checkModel } from "./late_check.js";
import { type Loaded, load, type Timings } from "./load.js";
import { isLoss } from "./losses.js";
import type { LoadOptions } from "./options.js";
import { RAW } from "./raw.js";
import { findFaults, loadRight } from "./self_check.js";
import type { Known } from "./stages.js";
import { type Task, taskOf, wrongModel } from "./tasks.js";
import type { ValidationReport } from "./validate.js";
import type { Verdicts } from "./verdicts.js";

export interface EngineInfo {
  readonly name: string;
  readonly url: string;
  readonly createdBy: string;
  readonly model: Manifest["model"];
  /** What the bundle says of sampling: requests that ask for none of it get it. */
  readonly generation: NonNullable<Manifest["generation"]>;
  /** What the model's embeddings are, where it computes some. */
  readonly embedding: Manifest["embedding"];
  /** What the model's scores are, where it ranks documents. */
  readonly reranking: Manifest["reranking"];
  /** Whether messages may have pictures. */
  readonly images: boolean;
  readonly tier: string;
  readonly tiers: readonly string[];
  /** The type of the KV cache's elements, where the bundle says it. */
  readonly kvCacheDtype: "float16" | "float32" | undefined;
  /** What prefill computes its products with. */
  readonly activations: Activations;
  readonly adapter: AdapterFacts;
  /** Threads that compute, of the tier `wasm`. */
  readonly threads: number | undefined;
  readonly contextLength: number;
  /** Tokens that the KV cache has room for now: it grows to contextLength with the conversation. */
  readonly kvTokens: number;
  /** Bytes allocated on the GPU, by kind. */
  readonly memory: MemoryUse;
  readonly cachedTokens: number;
  readonly timings: Timings;
}

export interface GenerateRequest extends SamplingRequest {
  /** Token ids that end the answer; by default the model's. An empty list never stops. */
  readonly stop_tokens?: readonly number[] | null;
}

const DEFAULT_DEPTH = 16;

export class Engine {
  readonly chat: { readonly completions: ChatCompletions };
  readonly completions: Completions;
  readonly embeddings = {
    /** Vectors of texts, in OpenAI's shape. */
    create: async (request: EmbeddingRequest): Promise<EmbeddingAnswer> =>
      this.held.lasting(() => this.texts("embedding").embed(this.queue, request)),
  };
  private readonly queue = new Queue();
  private readonly kv = new CachedTokens();
  private readonly held: Held;
  private readonly constrainer: LazyConstrainer;
  private readonly eyes: Eyes;
  private checkSeconds = 0;

  private constructor(
    loaded: Loaded,
    private readonly depth: number,
    { constrain, images }: LoadOptions,
  ) {
    this.held = new Held(loaded, this.queue);
    this.constrainer = new LazyConstrainer(() => this.held.answering(), constrain);
    this.eyes = new Eyes(images);
    this.chat = { completions: new ChatCompletions(() => this.backend()) };
    this.completions = new Completions(() => this.backend());
  }

  /** Loads the bundle at a URL, the folder's or its mlcweb.json's, or the one of a catalog's model that suits this
   * device. */
  static async load(source: string | CataloguedModel, options: LoadOptions = {}): Promise<Engine> {
    const depth = options.depth ?? DEFAULT_DEPTH;
    if (!Number.isInteger(depth) || depth < 1 || depth > 64)
      throw new InvalidRequestError("depth", "must be an integer from 1 to 64.");
    const url = typeof source === "string" ? source : await findInCatalog(source, options);
    const open = (known: Known, more: LoadOptions): Promise<Engine> =>
      loadRight(more, async (verdicts) => new Engine(await load(url, more, { ...known, verdicts }), depth, more));
    const recovers = options.recover !== false;
    const engine = await open({}, options).catch((error) => {
      if (!recovers || !isLoss(error)) throw error;
      return open({}, options);
    });
    if (recovers)
      engine.held.recoverBy(
        async ({ manifest }, signal) => (await open({ manifest }, { ...options, signal })).held.take()!,
        options.onWarning,
      );
    engine.held.alive().ready();
    return engine;
  }

  /** Says whether `load` would go on to download a bundle, and what the download, the memory and the speed would be on
   * this device, by the manifest alone. What keeps a model from running is told and not thrown; it throws where there
   * is no manifest to read, and for options that `load` refuses. */
  static check(source: string | CataloguedModel, options: CheckOptions = {}): Promise<EngineCheck> {
    return checkModel(source, options);
  }

  get info(): EngineInfo {
    const { manifest, tier, activations, adapter, threads, model, contextLength, memory, timings, base } =
      this.held.alive();
    return {
      name: manifest.name,
      url: base,
      createdBy: manifest.createdBy,
      model: manifest.model,
      generation: manifest.generation ?? {},
      embedding: manifest.embedding,
      reranking: manifest.reranking,
      images: model?.images !== undefined,
      tier: tier.name,
      tiers: manifest.tiers.map((t) => t.name),
      kvCacheDtype: tier.kvCacheDtype,
      activations,
      adapter,
      threads,
      contextLength,
      kvTokens: model?.kvTokens ?? 0,
      memory: memory.use,
      cachedTokens: this.kv.lengthIn(model),
      timings: { ...timings, check_s: this.checkSeconds },
    };
  }

  /** Tokens after a prompt of tokens; returns why it ended. Returning early from the iteration ends the answer. */
  async *generate(
    tokens: readonly number[],
    request: GenerateRequest = {},
    /** @internal `goesOn`: the tokens come after those that the KV cache holds. */
    { goesOn = false, ...extras }: HostExtras & { readonly goesOn?: boolean } = {},
  ): AsyncGenerator<GeneratedToken, GenerateEnd, void> {
    const { stop_tokens: stopTokens, ...rest } = request;
    const { model, manifest } = this.held.answering();
    const parsed = parseSampling(rest, { vocabSize: model.vocabSize, generation: manifest.generation });
    if (parsed.format && stopTokens != null)
      throw new InvalidRequestError("stop_tokens", "cannot go with response_format, which ends with the model's.");
    if (parsed.stop.length) throw new InvalidRequestError("stop", "needs text; generate takes stop_tokens.");
    checkPrompt(tokens, model);
    const constraint = parsed.format && (await this.constrainer.prepare({ formats: [parsed.format], asked: true }))();
    return yield* inTurn(this.queue, parsed.signal, (turn) => {
      const running = this.held.running();
      const prompt = goesOn ? [...this.kv.held, ...tokens] : tokens;
      const { model: first, host } = running.now();
      return generateTokens(first, this.kv, host, prompt, {
        recover: (error) => running.recover(error, ({ model }) => ({ model, prompt })),
        sampling: parsed.sampling,
        host: { ...parsed.host, ...extras },
        maxTokens: parsed.maxTokens ?? Infinity,
        signal: parsed.signal,
        constraint,
        depth: this.depth,
        stopTokens: new Set(stopTokens ?? (parsed.ignoreEos ? [] : manifest.tokenizer.eosTokenIds)),
        interrupted: () => turn.interrupted,
      });
    });
  }

  /** `count` greedy tokens by the real GPU loop, whatever they are. */
  async greedy(tokens: readonly number[], count: number): Promise<number[]> {
    const answer: number[] = [];
    for await (const { token } of this.generate(tokens, {
      max_tokens: count,
      ...RAW,
    }))
      answer.push(token);
    return answer;
  }

  /** The logits after a prompt. */
  async logits(tokens: readonly number[]): Promise<Float32Array> {
    return (await this.replay(tokens, []))[0]!;
  }

  /** The logits after a prompt, and after each of the tokens that follow it, fed one by one. */
  async replay(tokens: readonly number[], following: readonly number[]): Promise<Float32Array[]> {
    const steps: Float32Array[] = [];
    for await (const logits of this.replaySteps(tokens, following)) steps.push(logits);
    return steps;
  }

  /** The same, one at a time. Where the device is lost meanwhile, it ends with DeviceLostError. */
  async *replaySteps(
    tokens: readonly number[],
    following: readonly number[],
  ): AsyncGenerator<Float32Array, void, void> {
    const { model: first } = this.held.answering();
    checkPrompt(tokens, first);
    checkPrompt([...tokens, ...following.slice(0, -1)], first);
    const { kv } = this;
    const whole = (): Promise<Answering> => this.held.whole();
    yield* inTurn(this.queue, undefined, async function* (turn) {
      const { model } = await whole();
      kv.clear();
      kv.moveTo(model);
      await prefillAllButLast(model, kv, tokens, {});
      const rest = tokens.slice(kv.length);
      const last = model.prefillAndRead(rest, kv.length);
      kv.push(...rest);
      yield await last;
      for (const token of following) {
        if (turn.interrupted) throw new CancelledError("Interrupted.");
        await model.reserve(kv.length + 1);
        const logits = model.decodeAndRead(token, kv.length);
        kv.push(token);
        yield await logits;
      }
    });
  }

  /** Documents by how well they answer a query, in the shape of Cohere's and Jina's APIs. */
  async rerank(request: RerankRequest): Promise<RerankAnswer> {
    return this.held.lasting(() => this.texts("reranking").rerank(this.queue, request));
  }

  /** Ends the answer that is being generated, with finish_reason "abort", also one that nobody reads any more; where
   * `only` is given, one of a request with such a signal. */
  interrupt(only?: ReadonlySet<AbortSignal>): void {
    this.queue.interrupt(only);
  }

  /** Forgets the conversation: the KV cache starts empty. Interrupts the answer under way, as `interrupt` does. */
  async reset(only?: ReadonlySet<AbortSignal>): Promise<void> {
    this.held.alive();
    this.queue.interrupt(only);
    const { leave } = await this.queue.enter(undefined, true);
    this.kv.clear();
    leave();
  }

  encode(text: string, addSpecialTokens = true): number[] {
    return this.held.alive().codec.encode(text, addSpecialTokens);
  }
  /** The text of a chat, as the model's template writes it. */
  renderChat(messages: readonly ChatTurn[], options: RenderOptions = {}): string {
    return this.held.alive().codec.template.render(messages, this.rendering(options));
  }
  encodeChat(messages: readonly ChatTurn[], options: RenderOptions = {}): number[] {
    return this.held.alive().codec.encodeChat(messages, this.rendering(options));
  }
  decode(tokens: readonly number[]): string {
    return this.held.alive().codec.decode([...tokens]);
  }

  /** The bundle's validation.json, fetched when asked for; undefined when it has none. */
  async validation(): Promise<unknown> {
    const text = await this.held.alive().validation();
    return text === undefined ? undefined : JSON.parse(text);
  }

  /** @internal Compares what a model of whole texts makes of its validation's. */
  async validateTexts(task: Task, validation?: unknown): Promise<ValidationReport> {
    return this.texts(task).validate(this.queue, validation ?? (await this.validation()), this.info);
  }

  /** @internal Whether its kernels are right on this device, as far as is known after a check. */
  async checkItself(verdicts: Verdicts): Promise<boolean> {
    const { tier, activations, checking } = this.held.alive();
    const checked = { tier, activations };
    if (verdicts.isRight(checked)) return true;
    checking();
    const start = performance.now();
    const found = await findFaults(this);
    if (!found) return true;
    await verdicts.note(checked, found.ok, found.difference);
    if (found.ok) await this.reset();
    this.checkSeconds = (performance.now() - start) / 1000;
    return found.ok;
  }

  /** @internal The logits after a prompt with a picture of one tile, or a small one, whose RGB `draw` makes. */
  async logitsOfPicture(tokens: readonly number[], draw: (size: Size) => Uint8Array): Promise<Float32Array> {
    const loaded = this.held.answering();
    const { images } = loaded.manifest;
    if (!images) throw new BundleError("The validation has a picture, and the model sees none.");
    const size = sampleSize(images);
    const picture = { tiles: [draw(size)], rows: 0, columns: 0, size, key: "the picture to check with" };
    return this.logits(await this.eyes.see(loaded, tokens, [picture], undefined));
  }

  /** Where the time of a step goes. Load with `profile: true`, so that the device has timestamps where it can. */
  async profile(options: ProfileOptions = {}): Promise<ProfileReport> {
    const { model, manifest, tier } = await this.held.whole();
    if (!(model instanceof GpuModel))
      throw new InvalidRequestError("profile", `a tier on a GPU has one, and ${tier.name} is not.`);
    const { profileModel } = await import("../profile/index.js");
    const { leave } = await this.queue.enter();
    try {
      this.kv.clear();
      await model.reserve(model.contextLength); // it runs at positions of its own
      return await profileModel(model, manifest, options);
    } finally {
      leave();
    }
  }

  /** Frees the GPU. Pending and later calls reject with UnloadedError; calling it again does nothing. */
  async unload(): Promise<void> {
    const loaded = this.held.take();
    if (!loaded) return;
    this.queue.close(new UnloadedError());
    this.constrainer.forget();
    free(loaded);
    this.kv.clear();
  }

  private rendering(options: RenderOptions): RenderOptions {
    return { parts: this.held.alive().manifest.images !== undefined, ...options };
  }

  /** Throws where the model is for something else. */
  private texts(task: Task): Texts {
    const { manifest, texts } = this.held.alive();
    if (!texts || task !== taskOf(manifest)) throw wrongModel(manifest);
    return texts;
  }

  private backend(): Backend {
    const loaded = this.held.answering();
    const { manifest, model, codec } = loaded;
    return {
      images: this.eyes.seeing(loaded),
      imagesCode: () => this.eyes.code(loaded),
      name: manifest.name,
      queue: this.queue,
      vocabSize: model.vocabSize,
      generation: manifest.generation,
      contextLength: model.contextLength,
      answers: manifest.answers,
      templateHasTools: codec.template.hasTools,
      renderChat: (messages, options) => codec.template.render(messages, options),
      encodeRendered: (text) => codec.encodeRendered(text),
      specialsIn: (texts) => codec.specialsIn(texts),
      token: (id) => codec.token(id),
      chatStops: codec.template.stops,
      encode: (text, addSpecialTokens) => codec.encode(text, addSpecialTokens),
      constrain: (rules) => this.constrainer.prepare(rules),
      generate: (turn, ...asked) => {
        const { kv, depth, eyes } = this;
        return answerOn(this.held.running(), eyes, { kv, depth, interrupted: () => turn.interrupted }, ...asked);
      },
    };
  }
}
