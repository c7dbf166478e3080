// The GPU: finding an adapter and a device, choosing the tier that fits it, and watching for its loss.
// Everything that WebGPU can refuse becomes a typed error here.
export { requestAdapter, openDevice, describeAdapter, type AdapterFacts } from "./adapter.js";
export { lacking, together, type Needs } from "./needs.js";
export { chooseTier, missingFor, type Capabilities } from "./tier.js";
export { Guard } from "./guard.js";
export { Memory, type MemoryUse, type BufferKind } from "./memory.js";
