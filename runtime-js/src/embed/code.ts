// Gathers what the engine calls of this folder, by types that are its own.
import { correctEncoder } from "../text/encoders.js";
import { checkTextManifest, checkTextPlan } from "./check.js";
import { type GpuCallsParts, GpuTextCalls } from "./gpu_calls.js";
import { openTexts } from "./open.js";

const onGpu = (parts: GpuCallsParts): GpuTextCalls => new GpuTextCalls(parts);
export const code = { correctEncoder, checkTextManifest, checkTextPlan, onGpu, openTexts } as const;
export type TextsCode = typeof code;
