// Samples on the CPU, for requests that need the logits: log-probabilities, biases and penalties.
import type { Host } from "../plan/index.js";
import { forbid } from "./constraint.js";
import type { Sampling } from "./model.js";

export interface HostParams {
  readonly minP: number;
  /** 1 is off; counts the tokens of the answer, as the two below do. */
  readonly repetitionPenalty: number;
  readonly frequencyPenalty: number;
  readonly presencePenalty: number;
  readonly logitBias: ReadonlyMap<number, number>;
  /** How many alternatives to report with each token; undefined for no log-probabilities. */
  readonly topLogprobs: number | undefined;
}

export interface TokenLogprobs {
  readonly logprob: number;
  readonly top: readonly (readonly [token: number, logprob: number])[];
}

export function needsHost(p: HostParams): boolean {
  return (
    p.minP > 0 ||
    p.repetitionPenalty !== 1 ||
    p.frequencyPenalty !== 0 ||
    p.presencePenalty !== 0 ||
    p.logitBias.size > 0 ||
    p.topLogprobs !== undefined
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
    this.random = generator(sampling.seed);
  }

  /** `mask` is a constraint's. */
  next(logits: Float32Array, mask?: Int32Array): { token: number; logprobs?: TokenLogprobs } {
    const { params, sampling } = this;
    const raw = params.topLogprobs === undefined ? undefined : logProbabilities(logits);
    for (const [token, bias] of params.logitBias) if (token < logits.length) logits[token]! += bias;
    if (mask) forbid(logits, mask);
    const token = this.host.sample(logits, this.counts, { ...sampling, ...params }, this.random());
    this.counts.set(token, (this.counts.get(token) ?? 0) + 1);
    if (!raw) return { token };
    return {
      token,
      logprobs: { logprob: raw[token]!, top: largest(raw, params.topLogprobs!).map((t) => [t, raw[t]!] as const) },
    };
  }
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

/** A small seeded generator of numbers in [0, 1): mulberry32. */
function generator(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
