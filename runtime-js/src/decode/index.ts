// This folder is the decode loop. It prefills the tokens that the KV cache lacks, then keeps a few steps in flight on
// the GPU and reads their tokens back in order, so that no token waits for the CPU. It also has the slower path that
// samples on the CPU.

export { CachedTokens } from "./cached_tokens.js";
export type { Constraint } from "./constraint.js";
export { GpuModel } from "./gpu_model.js";
export { recurrentOnGpu } from "./gpu_recurrent.js";
export { type HostParams, needsHost, type Processor, type StepTimes, type TokenLogprobs } from "./host_sampling.js";
export { ImageRows } from "./image_rows.js";
export { FIRST_TOKENS } from "./kv_growth.js";
export { type GeneratedToken, type GenerateEnd, type GenerateParams, generateTokens } from "./loop.js";
export type { Model, RecurrentState, Sampling } from "./model.js";
export { stateWords } from "./state.js";
