// The GPU: finding an adapter and a device, choosing the tier that fits it, and watching for its loss.
// Everything that WebGPU can refuse becomes a typed error here.
export { type AdapterFacts, describeAdapter, openDevice, requestAdapter } from "./adapter.js";
export { Guard } from "./guard.js";
export { type BufferKind, Memory, type MemoryUse } from "./memory.js";
export { mergeRequirements, missingNeeds, type Needs } from "./needs.js";
export { type Capabilities, chooseTier, missingFor } from "./tier.js";
