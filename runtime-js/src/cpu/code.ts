// Gathers what the engine calls of this folder, by types that are its own.
import { canShareMemory, kernelsFor } from "./features.js";
import { openCpu } from "./open.js";

export const code = { canShareMemory, kernelsFor, openCpu } as const;
export type CpuCode = typeof code;
