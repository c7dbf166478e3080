// Generates one answer's tokens. It submits steps ahead of their read-back, discards those past the stop, and rolls the
// KV cache back to the accepted tokens.
import {
  CancelledError,
  ContextLengthError,
  InvalidRequestError,
  OutOfMemoryError,
  throwIfAborted,
} from "../errors.js";
import type { Host } from "../plan/index.js";
import type { CachedTokens } from "./cached_tokens.js";
import { ConstrainedFeed } from "./constrained_feed.js";
import type { Constraint } from "./constraint.js";
import type { Feed } from "./feed.js";
import { GpuFeed } from "./gpu_feed.js";
import { HostFeed } from "./host_feed.js";
import { type HostParams, HostSampler, needsHost, penaltiesOf, type TokenLogprobs } from "./host_sampling.js";
import type { Model, Sampling } from "./model.js";
import { wholeChunk } from "./whole_pictures.js";

export interface GenerateParams {
  readonly sampling: Sampling;
  readonly host: HostParams;
  readonly maxTokens: number;
  readonly stopTokens: ReadonlySet<number>;
  /** What the answer must satisfy; it has taken no token yet. */
  readonly constraint?: Constraint | undefined;
  /** Steps in flight. */
  readonly depth: number;
  readonly signal?: AbortSignal | undefined;
  /** Ends the generation before its next token, without an error. */
  readonly interrupted?: (() => boolean) | undefined;
  /** Resolves with a model that goes on in the place of one that failed with the error, and the prompt as it knows it;
   * rejects where there is none. */
  readonly recover?: ((error: unknown) => Promise<Resumption>) | undefined;
  /** Told how many of the prompt's tokens the KV cache held already. */
  readonly onCached?: (tokens: number) => void;
}
export interface Resumption {
  readonly model: Model;
  readonly prompt: readonly number[];
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
  kv.moveTo(model);
  const common = kv.reuse(prompt);
  const cached = model.recurrent?.rewind(common) ?? common;
  kv.truncate(cached);
  params.onCached?.(cached);
  const limit = Math.min(params.maxTokens, model.contextLength - prompt.length);
  const end = (reason: GenerateEnd["reason"]): GenerateEnd => ({ reason });
  if (limit <= 0) return end("length");
  const feed = feedOf(model, kv, host, prompt, params, limit);
  let at: Resumption = { model, prompt },
    unread = prompt;
  try {
    for (let count = 0; ; ) {
      let next: GeneratedToken;
      try {
        if (unread.length > 0 && !(await prefillAllButLast(at.model, kv, unread, params))) return end("abort");
        unread = [];
        next = await cancellable(feed.next(), params.signal);
      } catch (error) {
        if (!params.recover || error instanceof CancelledError) throw error;
        at = await cancellable(params.recover(error), params.signal);
        kv.moveTo(at.model);
        unread = feed.resume(at);
        continue;
      }
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

function feedOf(
  model: Model,
  kv: CachedTokens,
  host: Pick<Host, "sample">,
  prompt: readonly number[],
  { sampling: asked, host: hostParams, constraint, depth: most }: GenerateParams,
  limit: number,
): Feed {
  const depth = Math.min(most, model.stepsAhead ?? most);
  if (needsHost(hostParams, model.penalizes))
    return new HostFeed(model, kv, new HostSampler(host, asked, hostParams), prompt, constraint);
  const sampling = { ...asked, penalties: penaltiesOf(hostParams) };
  if (constraint) return new ConstrainedFeed(model, kv, prompt, sampling, constraint, limit, depth);
  return new GpuFeed(model, kv, prompt, sampling, limit, depth);
}

export function checkPrompt(prompt: readonly number[], model: Model): void {
  if (prompt.length === 0) throw new InvalidRequestError("prompt", "has no tokens.");
  const isToken = (token: number): boolean =>
    token < 0 ? model.knows?.(token) === true : Number.isInteger(token) && token < model.vocabSize;
  const wrong = prompt.find((token) => !isToken(token));
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
    const most = model.prefillChunk;
    const end = model.wholePictures ? wholeChunk(prompt, kv.length, most) : kv.length + most;
    const chunk = prompt.slice(kv.length, end);
    const running = model.prefill(chunk, kv.length);
    running.catch(() => {});
    kv.push(...chunk);
    await cancellable(before, signal);
    before = running;
  }
  // The last token by itself, so that another answer to this prompt can begin after the others.
  const rest = prompt.slice(kv.length, -1);
  if (model.recurrent && rest.length > 0) {
    throwIfAborted(signal);
    if (interrupted?.()) return false;
    model.prefill(rest, kv.length).catch(() => {});
    kv.push(...rest);
  }
  model.recurrent?.mark();
  throwIfAborted(signal);
  return true;
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
