// Generates one answer's tokens. It submits steps ahead of their read-back, discards those past the stop, and rolls the
// KV cache back to the accepted tokens.
import {
  CancelledError,
  ContextLengthError,
  GpuError,
  InvalidRequestError,
  OutOfMemoryError,
  throwIfAborted,
} from "../errors.js";
import type { Host } from "../plan/index.js";
import type { CachedTokens } from "./cached_tokens.js";
import { type HostParams, HostSampler, needsHost, type TokenLogprobs } from "./host_sampling.js";
import type { Model, Sampling } from "./model.js";

export interface GenerateParams {
  readonly sampling: Sampling;
  readonly host: HostParams;
  readonly maxTokens: number;
  readonly stopTokens: ReadonlySet<number>;
  /** Steps in flight. */
  readonly depth: number;
  readonly signal?: AbortSignal | undefined;
  /** Ends the generation before its next token, without an error. */
  readonly interrupted?: (() => boolean) | undefined;
  /** Told how many of the prompt's tokens the KV cache held already. */
  readonly onCached?: (tokens: number) => void;
}
export interface GeneratedToken {
  readonly token: number;
  readonly logprobs?: TokenLogprobs;
}
export interface GenerateEnd {
  readonly reason: "stop" | "length" | "abort";
}

/** Yields the tokens of an answer, without the stop token; returning early from the iteration ends it there. */
export async function* generateTokens(
  model: Model,
  kv: CachedTokens,
  host: Pick<Host, "sample">,
  prompt: readonly number[],
  params: GenerateParams,
): AsyncGenerator<GeneratedToken, GenerateEnd, void> {
  checkPrompt(prompt, model);
  throwIfAborted(params.signal);
  if (params.interrupted?.()) return { reason: "abort" };
  const cached = kv.reuse(prompt);
  params.onCached?.(cached);
  const limit = Math.min(params.maxTokens, model.contextLength - prompt.length);
  const end = (reason: GenerateEnd["reason"]): GenerateEnd => ({ reason });
  if (limit <= 0) return end("length");
  const feed = needsHost(params.host)
    ? new HostFeed(model, kv, new HostSampler(host, params.sampling, params.host), prompt)
    : new GpuFeed(model, kv, prompt, params.sampling, limit, params.depth);
  try {
    if (!(await prefillAllButLast(model, kv, prompt, params))) return end("abort");
    for (let count = 0; ; ) {
      const next = await cancellable(feed.next(), params.signal);
      feed.accept(next.token);
      if (params.stopTokens.has(next.token)) return end("stop");
      if (params.interrupted?.()) return end("abort");
      if (++count < limit) await feed.ahead();
      yield next;
      throwIfAborted(params.signal);
      if (params.interrupted?.()) return end("abort");
      if (count >= limit) return end("length");
    }
  } catch (error) {
    // After a failed submission nobody knows what the cache holds. A cache that could not grow is as it was.
    if (!(error instanceof CancelledError || error instanceof OutOfMemoryError)) kv.clear();
    throw error;
  } finally {
    feed.finish();
  }
}

export function checkPrompt(prompt: readonly number[], model: Model): void {
  if (prompt.length === 0) throw new InvalidRequestError("prompt", "has no tokens.");
  const wrong = prompt.find((token) => !Number.isInteger(token) || token < 0 || token >= model.vocabSize);
  if (wrong !== undefined)
    throw new InvalidRequestError("prompt", `has ${wrong}, which is not a token id below ${model.vocabSize}.`);
  if (prompt.length >= model.contextLength) throw new ContextLengthError(prompt.length, model.contextLength);
}

/** Makes room for the prompt and submits its chunks but the last, which is left to the caller. At most two are in
 * flight, so that a cancellation is heard. Returns false when interrupted. */
export async function prefillAllButLast(
  model: Model,
  kv: CachedTokens,
  prompt: readonly number[],
  { signal, interrupted }: Pick<GenerateParams, "signal" | "interrupted">,
): Promise<boolean> {
  await model.reserve(prompt.length);
  let before: Promise<void> = Promise.resolve();
  while (prompt.length - kv.length > model.prefillChunk) {
    throwIfAborted(signal);
    if (interrupted?.()) return false;
    const chunk = prompt.slice(kv.length, kv.length + model.prefillChunk);
    const running = model.prefill(chunk, kv.length);
    running.catch(() => {});
    kv.push(...chunk);
    await cancellable(before, signal);
    before = running;
  }
  throwIfAborted(signal);
  return true;
}

interface Feed {
  next(): Promise<GeneratedToken>;
  /** Notes that the caller has taken the token. If it was fed already, the KV cache holds it. */
  accept(token: number): void;
  /** Submits more steps, up to the depth. */
  ahead(): Promise<void>;
  finish(): void;
}

/** A step is slow from here on. Then few steps are in flight: a read-back's latency does not count, and a stop wastes
 * fewer steps. */
const SLOW_MS = 40;
/** A step is fast up to here. Then several steps share one submission and its cost. */
const FAST_MS = 5;
const BATCH = 4;

/** Tokens sampled and fed back on the GPU. */
class GpuFeed implements Feed {
  private readonly inFlight: Promise<number>[] = [];
  private started = false;
  private submitted = 0;
  private readonly accepted: number[] = [];
  private lastAt = 0;
  private stepMs = NaN;
  /** Why no more steps are submitted: the KV cache could not grow. */
  private refused: unknown;

  constructor(
    private readonly model: Model,
    private readonly kv: CachedTokens,
    private readonly prompt: readonly number[],
    private readonly sampling: Sampling,
    private readonly limit: number,
    private readonly depth: number,
  ) {}

  async next(): Promise<GeneratedToken> {
    if (!this.started) {
      this.started = true;
      this.model.setSampling(this.sampling);
      const rest = this.prompt.slice(this.kv.length);
      this.track(
        this.model.prefillAndSample(rest, this.kv.length).then((token) => [token]),
        1,
      );
      this.kv.push(...rest);
      await this.ahead();
    }
    const inFlight = this.inFlight[0];
    if (!inFlight) throw this.refused ?? new GpuError("No step is in flight.");
    const token = await inFlight;
    this.inFlight.shift();
    return { token };
  }

  accept(token: number): void {
    this.accepted.push(token);
  }

  async ahead(): Promise<void> {
    const depth = this.stepMs <= SLOW_MS ? this.depth : Math.min(2, this.depth); // and until the first is measured
    const batch = this.stepMs < FAST_MS ? Math.min(BATCH, Math.ceil(depth / 2)) : 1;
    for (;;) {
      const left = this.limit - this.submitted,
        room = depth - this.inFlight.length;
      if (left <= 0 || room < Math.min(batch, left) || this.refused) return;
      const count = Math.min(batch, left);
      const tokens = this.prompt.length + this.submitted + count - 1;
      if (tokens > this.model.kvTokens) {
        try {
          await this.model.reserve(tokens);
        } catch (error) {
          this.refused = error; // thrown when the tokens that are in flight have been taken
          return;
        }
      }
      this.track(this.model.steps(count), count);
    }
  }

  private track(tokens: Promise<number[]>, count: number): void {
    tokens.then(
      () => {
        const now = performance.now();
        if (this.lastAt) this.stepMs = (now - this.lastAt) / count;
        this.lastAt = now;
      },
      () => {},
    );
    this.submitted += count;
    for (let i = 0; i < count; i++) this.inFlight.push(tokens.then((all) => all[i]!));
    for (const token of this.inFlight.slice(-count)) token.catch(() => {}); // nobody reads tokens past a stop
  }

  finish(): void {
    // Steps in flight are not waited for: the GPU runs them before anything that is submitted later, and they change
    // only positions past the accepted ones.
    // Step i fed accepted token i - 1, so the KV cache holds all accepted tokens that were fed.
    if (this.started && this.kv.length > 0) this.kv.push(...this.accepted.slice(0, Math.max(0, this.submitted - 1)));
  }
}

/** Logits read back, sampled by model.wasm, and the token written for the next step. */
class HostFeed implements Feed {
  private last: number | undefined;
  constructor(
    private readonly model: Model,
    private readonly kv: CachedTokens,
    private readonly sampler: HostSampler,
    private readonly prompt: readonly number[],
  ) {}

  async next(): Promise<GeneratedToken> {
    const position = this.kv.length;
    let logits: Promise<Float32Array>;
    if (this.last === undefined) {
      const rest = this.prompt.slice(position);
      logits = this.model.prefillAndRead(rest, position);
      this.kv.push(...rest);
    } else {
      await this.model.reserve(position + 1);
      logits = this.model.decodeAndRead(this.last, position);
      this.kv.push(this.last);
    }
    const next = this.sampler.next(await logits);
    this.last = next.token;
    return next;
  }
  accept(): void {}
  async ahead(): Promise<void> {}
  finish(): void {}
}

/** The promise, or CancelledError as soon as the signal fires. */
function cancellable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(new CancelledError("Cancelled.", signal.reason));
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
