// Samples on the CPU, for requests that need the logits, such as log-probabilities and biases.
import { InvalidRequestError } from "../errors.js";
import type { Host } from "../plan/index.js";
import { forbid } from "./constraint.js";
import type { Penalties, Sampling } from "./model.js";

export interface HostParams {
  readonly minP: number;
  /** 1 is off; counts the tokens of the answer, as the two below do. */
  readonly repetitionPenalty: number;
  readonly frequencyPenalty: number;
  readonly presencePenalty: number;
  readonly logitBias: ReadonlyMap<number, number>;
  /** How many alternatives to report with each token; undefined for no log-probabilities. */
  readonly topLogprobs: number | undefined;
  /** A page's own code, which sees the logits before all else, and each token that was chosen. */
  readonly processor?: Processor | undefined;
  /** Where the seconds of each step are noted. */
  readonly times?: StepTimes | undefined;
}

export interface Processor {
  processLogits(logits: Float32Array): Float32Array;
  processSampledToken(token: number): void;
}

export interface StepTimes {
  readonly logitProcessorTime: number[];
  readonly logitBiasTime: number[];
  readonly grammarBitmaskTime: number[];
  readonly sampleTime: number[];
  readonly totalTime: number[];
}

export interface TokenLogprobs {
  readonly logprob: number;
  readonly top: readonly (readonly [token: number, logprob: number])[];
}

/** The penalties; undefined where all are off. */
export function penaltiesOf(p: HostParams): Penalties | undefined {
  const { repetitionPenalty: repetition, frequencyPenalty: frequency, presencePenalty: presence } = p;
  return repetition !== 1 || frequency !== 0 || presence !== 0 ? { repetition, frequency, presence } : undefined;
}

/** `penalizes`: the GPU's sampler takes penalties. */
export function needsHost(p: HostParams, penalizes: boolean): boolean {
  return (
    p.minP > 0 ||
    (!penalizes && penaltiesOf(p) !== undefined) ||
    p.logitBias.size > 0 ||
    p.topLogprobs !== undefined ||
    p.processor !== undefined ||
    p.times !== undefined
  );
}

export class HostSampler {
  private readonly counts = new Map<number, number>();
  private readonly random: () => number;

  constructor(
    private readonly host: Pick<Host, "sample">,
    private readonly sampling: Sampling,
    private readonly params: HostParams,
  ) {
    let count = 0;
    this.random = () => randomAt(sampling.seed, count++);
  }

  /** `mask` is a constraint's. */
  next(logits: Float32Array, mask?: Int32Array): { token: number; logprobs?: TokenLogprobs } {
    const { params, sampling } = this;
    const { processor, times } = params;
    const start = performance.now();
    const raw = params.topLogprobs === undefined ? undefined : logProbabilities(logits);
    const scores = timed(times?.logitProcessorTime, () => (processor ? processed(processor, logits) : logits));
    timed(times?.logitBiasTime, () => {
      for (const [token, bias] of params.logitBias) if (token < scores.length) scores[token]! += bias;
    });
    if (mask) timed(times?.grammarBitmaskTime, () => forbid(scores, mask));
    const token = timed(times?.sampleTime, () =>
      this.host.sample(scores, this.counts, { ...sampling, ...params }, this.random()),
    );
    this.counts.set(token, (this.counts.get(token) ?? 0) + 1);
    processor?.processSampledToken(token);
    times?.totalTime.push((performance.now() - start) / 1000);
    if (!raw) return { token };
    return {
      token,
      logprobs: { logprob: raw[token]!, top: largest(raw, params.topLogprobs!).map((t) => [t, raw[t]!] as const) },
    };
  }
}

/** What a page's processor makes of the logits. Throws InvalidRequestError for what are no logits. */
function processed(processor: Processor, logits: Float32Array): Float32Array {
  const { length } = logits;
  const scores = processor.processLogits(logits) as unknown;
  if (!(scores instanceof Float32Array) || scores.length !== length)
    throw new InvalidRequestError("processLogits", `must return a Float32Array of ${length} logits.`);
  return scores;
}

function timed<T>(times: number[] | undefined, work: () => T): T {
  if (!times) return work();
  const start = performance.now();
  const result = work();
  times.push((performance.now() - start) / 1000);
  return result;
}

/** log softmax of the model's own logits, before biases and penalties. */
export function logProbabilities(logits: Float32Array): Float32Array {
  let max = -Infinity,
    sum = 0;
  for (const x of logits) if (x > max) max = x;
  for (const x of logits) sum += Math.exp(x - max);
  const shift = max + Math.log(sum);
  return logits.map((x) => x - shift);
}

/** The indices of the `count` largest values, largest first. */
export function largest(values: Float32Array, count: number): number[] {
  const top: number[] = [];
  if (count <= 0) return top;
  for (let i = 0; i < values.length; i++) {
    if (top.length === count && values[i]! <= values[top[count - 1]!]!) continue;
    let at = top.length;
    while (at > 0 && values[top[at - 1]!]! < values[i]!) at--;
    top.splice(at, 0, i);
    if (top.length > count) top.pop();
  }
  return top;
}

/** The `index`-th number in [0, 1) of a seed: mulberry32's. */
export function randomAt(seed: number, index: number): number {
  const state = (seed + Math.imul(index + 1, 0x6d2b79f5)) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}
