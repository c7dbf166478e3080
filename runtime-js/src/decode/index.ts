// The decode loop: prefill what the KV cache does not hold, then keep a few steps in flight on the GPU and read
// their tokens back in order, so that no token waits for the CPU. Also the slower host-sampled path.
export { type Model, type Sampling } from "./model.js";
export { GpuModel } from "./gpu_model.js";
export { KvCache } from "./kv.js";
export { FIRST_TOKENS } from "./kv_growth.js";
export { generateTokens, type GenerateParams, type GeneratedToken, type GenerateEnd } from "./loop.js";
export { needsHost, type HostParams, type TokenLogprobs } from "./host_sampling.js";
