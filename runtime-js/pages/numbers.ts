// Writes amounts as people read them.
import type { EngineInfo, Usage } from "mlcweb";

const MIB = 2 ** 20;

export const duration = (seconds: number): string =>
  seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
export const mebibytes = (bytes: number): string => `${(bytes / MIB).toFixed(bytes < 10 * MIB ? 1 : 0)} MiB`;
const rate = (tokens: number): string => tokens.toFixed(tokens < 100 ? 1 : 0);
export const latency = (seconds: number): string =>
  seconds < 1 ? `${(seconds * 1000).toFixed(0)} ms` : `${seconds.toFixed(1)} s`;
export const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;
export const tokenRate = (perSecond: number): string => `${rate(perSecond)} tokens/s`;

export const parametersOf = (count: number): string =>
  count >= 1e9 ? `${(count / 1e9).toFixed(1)} B` : `${(count / 1e6).toFixed(0)} M`;

/** What the model is: "q4f16_1 · 135 M parameters · loaded in 1.2 s". */
export function modelFacts({ model, timings }: EngineInfo): string {
  return `${model.quantization} · ${parametersOf(model.parameters)} parameters · loaded in ${latency(timings.total_s)}`;
}

/** What it runs on: adapter or threads, tier, memory, and how full the context is, or how long a text may be. */
export function machineFacts(info: EngineInfo): string {
  const { adapter, threads, tier, memory, cachedTokens, contextLength, embedding } = info;
  const gpu = adapter.description || [adapter.vendor, adapter.architecture].filter(Boolean).join(" ") || "unnamed GPU";
  const name = threads ? `CPU, ${count(threads, "thread")}` : adapter.software ? `${gpu} (software)` : gpu;
  const context = embedding ? `texts of ${contextLength} tokens` : `context ${cachedTokens}/${contextLength}`;
  return `${name} · ${tier} · ${mebibytes(memory.total)}${threads ? "" : " on the GPU"} · ${context}`;
}

export function answerFacts({ completion_tokens, extra }: Usage): string[] {
  return [
    count(completion_tokens, "token"),
    ...(extra.decode_tokens_per_s > 0 ? [tokenRate(extra.decode_tokens_per_s)] : []),
    ...(completion_tokens > 0 ? [`${latency(extra.time_to_first_token_s)} to the first`] : []),
  ];
}

export function promptFacts({ prompt_tokens, extra }: Usage): string {
  const reused = extra.cached_prompt_tokens ? `, ${extra.cached_prompt_tokens} reused` : "";
  return `prompt ${count(prompt_tokens, "token")}${reused}`;
}
