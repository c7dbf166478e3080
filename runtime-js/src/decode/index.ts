// The decode loop: prefill what the KV cache does not hold, then keep a few steps in flight on the GPU and read
// their tokens back in order, so that no token waits for the CPU. Also the slower host-sampled path.

export { GpuModel } from "./gpu_model.js";
export { type HostParams, needsHost, type TokenLogprobs } from "./host_sampling.js";
export { KvCache } from "./kv.js";
export { FIRST_TOKENS } from "./kv_growth.js";
export { type GeneratedToken, type GenerateEnd, type GenerateParams, generateTokens } from "./loop.js";
export type { Model, Sampling } from "./model.js";
