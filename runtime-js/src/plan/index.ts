// The plan: a tier's buffers, kernels and launches, checked, then turned once into pipelines and bind groups,
// and replayed into a compute pass for every step. Grids and scalars come from model.wasm.
export { kernelsOf, parsePlan, SHARED, type Plan, type PlanBuffer, type PlanEntry, type PlanKernel } from "./parse.js";
export { splitKernels } from "./wgsl.js";
export { Host } from "./host.js";
export { Pipelines } from "./pipelines.js";
export { compare, comparedLaunches, heaviestLaunch, timedRows, timeHeaviest } from "./measure.js";
export { largestBuffer, PlanBuffers, type Buffers } from "./buffers.js";
export { Entry, type Launched } from "./entry.js";
