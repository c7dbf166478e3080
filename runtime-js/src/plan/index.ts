// This folder runs a plan. It checks a tier's buffers, kernels and launches, turns them once into pipelines and bind
// groups, and replays them into a compute pass for every step. Grids and scalars come from model.wasm.
export { type Buffers, largestBuffer, PlanBuffers } from "./buffers.js";
export { Entry, type Launched } from "./entry.js";
export { Host } from "./host.js";
export { timeInTurn } from "./measure.js";
export { kernelsOf, type Plan, type PlanBuffer, type PlanEntry, type PlanKernel, parsePlan } from "./parse.js";
export { Pipelines } from "./pipelines.js";
export { comparedLaunches, heaviestLaunch, type TimedGpu, timedRows, timeLaunches } from "./prefill_times.js";
export { splitKernels } from "./wgsl.js";
