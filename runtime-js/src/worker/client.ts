// Defines WorkerEngine: Engine's members on a page, of an engine that runs in a worker.
import { resolveBundleUrl } from "../bundle/url.js";
import { portable } from "../chat/bitmaps.js";
import type { ChatCompletions, Completions } from "../chat/index.js";
import type { CheckOptions, EngineCheck } from "../check/index.js";
import type { GeneratedToken, GenerateEnd } from "../decode/index.js";
import type { RerankAnswer, RerankRequest } from "../embed/index.js";
import { type CataloguedModel, findInCatalog } from "../engine/catalogued.js";
import type { GenerateRequest } from "../engine/engine.js";
import type { Engine, EngineInfo, LoadOptions, ProfileOptions, ProfileReport } from "../engine/index.js";
import { checkModel } from "../engine/late_check.js";
import { RAW } from "../engine/raw.js";
import { InvalidRequestError, throwIfAborted, UnloadedError } from "../errors.js";
import type { ChatTurn, RenderOptions } from "../text/template.js";
import { Connection } from "./connection.js";
import { dialTo, type WorkerSource } from "./dial.js";
import type { Facts } from "./engine_methods.js";
import { errorFromJson } from "./error_json.js";
import type { RemoteStream } from "./remote_stream.js";

/** What is at once in Engine comes as a promise; all else is the same. */
type Across<M> = M extends (...args: infer A) => infer R
  ? R extends Promise<unknown> | AsyncGenerator<unknown, unknown, never>
    ? M
    : (...args: A) => Promise<R>
  : M;

/** Those that are declared by themselves, and the engine's own affairs. */
type Own = "chat" | "completions" | "embeddings" | "interrupt" | "validateTexts" | "logitsOfPicture" | "checkItself";

/** Engine's public members, as they are across a worker: a member that Engine gets must come to WorkerEngine too. */
export type EngineAcross = {
  readonly [K in Exclude<keyof Engine, Own>]: Across<Engine[K]>;
} & {
  readonly chat: { readonly completions: Omit<ChatCompletions, "observe"> };
  readonly completions: Omit<Completions, "observe">;
  readonly embeddings: Engine["embeddings"];
  interrupt(): void;
};

export interface WorkerLoadOptions extends Omit<LoadOptions, "fetch" | "constrain" | "embed" | "images"> {
  /** A service worker ends when nothing was asked of it for half a minute, and its model with it. By default it is kept
   * from that for as long as the page uses the model; with false, only while it answers. */
  readonly keepAlive?: boolean | undefined;
  /** Milliseconds that the worker's script may take to start; 60 000 by default. */
  readonly startMs?: number | undefined;
}

export class WorkerEngine implements EngineAcross {
  readonly chat: EngineAcross["chat"] = {
    completions: {
      create: ((request) => this.chatCall("chat.completions.create", request)) as ChatCompletions["create"],
      prompt: (request) => this.chatCall("chat.completions.prompt", request),
    },
  };
  readonly completions: EngineAcross["completions"] = {
    create: ((request) => this.call("completions.create", request)) as Completions["create"],
  };

  readonly embeddings: EngineAcross["embeddings"] = {
    create: (request) => this.call("embeddings.create", request),
  };

  private constructor(
    private readonly connection: Connection,
    private readonly facts: { last?: Facts },
  ) {}

  /** Loads the bundle at a URL, or the one of a catalog's model that suits this device, in a worker whose script calls
   * `serveEngine`. URLs are relative to this page, as it is now. */
  static async load(
    worker: WorkerSource,
    source: string | CataloguedModel,
    options: WorkerLoadOptions = {},
  ): Promise<WorkerEngine> {
    const { keepAlive = true, startMs, ...rest } = options;
    const { signal, onProgress: _, ...again } = rest;
    throwIfAborted(signal);
    for (const name of ["fetch", "constrain", "embed", "images"])
      if (name in rest && (rest as Record<string, unknown>)[name] !== undefined)
        throw new InvalidRequestError(name, "cannot cross to a worker.", `Give it there: serveEngine({ ${name} }).`);
    const url = typeof source === "string" ? source : await findInCatalog(source, rest);
    const { base, query } = resolveBundleUrl(url);
    const at = base + query;
    const facts: { last?: Facts } = {};
    const connection = await unlessAborted(
      Connection.open(dialTo(worker), {
        service: "engine",
        callbacks: ["onProgress", "onWarning"],
        onFacts: (last) => {
          if (last) facts.last = last as Facts;
        },
        revive: (call) => call("load", at, again),
        keepAlive,
        ...(startMs !== undefined && { startMs }),
      }),
      signal,
    );
    try {
      await connection.call("load", at, rest);
    } catch (error) {
      connection.close(new UnloadedError());
      throw error;
    }
    return new WorkerEngine(connection, facts);
  }

  /** What `Engine.check` says, of this page: it needs no worker. */
  static check(source: string | CataloguedModel, options: CheckOptions = {}): Promise<EngineCheck> {
    return checkModel(source, options);
  }

  /** The engine's facts as they were after the last answer. */
  get info(): EngineInfo {
    const { failure } = this.connection;
    if (failure) throw failure;
    const last = this.facts.last!;
    if ("error" in last) throw errorFromJson(last.error);
    return last.info;
  }

  async *generate(
    tokens: readonly number[],
    request: GenerateRequest = {},
  ): AsyncGenerator<GeneratedToken, GenerateEnd, void> {
    const stream = await this.call<RemoteStream<GeneratedToken, GenerateEnd>>("generate", tokens, request);
    return (yield* stream) as GenerateEnd;
  }

  async greedy(tokens: readonly number[], count: number): Promise<number[]> {
    const answer: number[] = [];
    for await (const { token } of this.generate(tokens, { max_tokens: count, ...RAW })) answer.push(token);
    return answer;
  }

  async logits(tokens: readonly number[]): Promise<Float32Array> {
    return (await this.replay(tokens, []))[0]!;
  }

  async replay(tokens: readonly number[], following: readonly number[]): Promise<Float32Array[]> {
    const steps: Float32Array[] = [];
    for await (const logits of this.replaySteps(tokens, following)) steps.push(logits);
    return steps;
  }

  async *replaySteps(
    tokens: readonly number[],
    following: readonly number[],
  ): AsyncGenerator<Float32Array, void, void> {
    yield* await this.call<RemoteStream<Float32Array>>("replaySteps", tokens, following);
  }

  rerank(request: RerankRequest): Promise<RerankAnswer> {
    return this.call("rerank", request);
  }
  /** Ends the answer that is being generated, if it is one of this page's. */
  interrupt(): void {
    // In a worker that has ended nothing is to be ended. Who waits for the answer hears of what is wrong.
    if (this.connection.connected) this.call("interrupt").catch(() => {});
  }
  reset(): Promise<void> {
    return this.call("reset");
  }
  encode(text: string, addSpecialTokens = true): Promise<number[]> {
    return this.call("encode", text, addSpecialTokens);
  }
  renderChat(messages: readonly ChatTurn[], options: RenderOptions = {}): Promise<string> {
    return this.call("renderChat", messages, options);
  }
  encodeChat(messages: readonly ChatTurn[], options: RenderOptions = {}): Promise<number[]> {
    return this.call("encodeChat", messages, options);
  }
  decode(tokens: readonly number[]): Promise<string> {
    return this.call("decode", tokens);
  }
  validation(): Promise<unknown> {
    return this.call("validation");
  }
  profile(options: ProfileOptions = {}): Promise<ProfileReport> {
    return this.call("profile", options);
  }

  /** The worker frees the GPU, unless other pages use the model. Pending and later calls reject with UnloadedError. The
   * worker itself stays. */
  async unload(): Promise<void> {
    const { connection } = this;
    if (connection.failure) return;
    if (connection.connected) await connection.call("unload").catch(() => {});
    connection.close(new UnloadedError());
  }

  /** Sent at once, unless bitmaps are to be made of what it has. */
  private async chatCall<T>(method: string, request: unknown): Promise<T> {
    const carried = portable(request);
    return this.call(method, carried instanceof Promise ? await carried : carried);
  }
  private call<T>(method: string, ...args: unknown[]): Promise<T> {
    return this.connection.call(method, ...args) as Promise<T>;
  }
}

/** A connection that comes too late is closed. */
async function unlessAborted(opening: Promise<Connection>, signal: AbortSignal | undefined): Promise<Connection> {
  const connection = await new Promise<Connection>((resolve, reject) => {
    const stop = (): void => {
      try {
        throwIfAborted(signal);
      } catch (error) {
        reject(error);
        opening.then((late) => late.close(new UnloadedError())).catch(() => {});
      }
    };
    signal?.addEventListener("abort", stop, { once: true });
    opening.then(resolve, reject).finally(() => signal?.removeEventListener("abort", stop));
  });
  return connection;
}
