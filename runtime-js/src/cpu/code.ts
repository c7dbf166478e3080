// Gathers what the engine calls of this folder, by types that are its own.
import { canShareMemory, hasRelaxedSimd, hasSimd } from "./features.js";
import { openCpu } from "./open.js";

export const code = { canShareMemory, hasRelaxedSimd, hasSimd, openCpu } as const;
export type CpuCode = typeof code;
