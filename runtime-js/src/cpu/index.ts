// This folder runs a bundle's CPU tier, for pages without WebGPU: its kernels in WebAssembly, in workers that share a
// memory where the page is isolated. The engine fetches it where it takes that tier.
import { code as own } from "./code.js";

/** For the engine, which alone knows its type. */
export const code: unknown = own;
