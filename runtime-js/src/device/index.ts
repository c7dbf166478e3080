// This folder finds an adapter and a device, chooses the tier that fits, and watches for the device's loss. Everything
// that WebGPU can refuse becomes a typed error here.
export { type AdapterFacts, describeAdapter, openDevice, type PowerPreference, requestAdapter } from "./adapter.js";
export { Guard } from "./guard.js";
export { type BufferKind, Memory, type MemoryUse } from "./memory.js";
export { mergeRequirements, missingNeeds, type Needs } from "./needs.js";
export { Readbacks } from "./readback.js";
export { type Capabilities, chooseTier, missingFor } from "./tier.js";
