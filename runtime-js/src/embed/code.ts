// Gathers what the engine calls of this folder, by types that are its own.
import { correctEncoder } from "../text/encoders.js";
import { checkTextManifest, checkTextPlan } from "./check.js";
import { openTexts } from "./open.js";

export const code = { correctEncoder, checkTextManifest, checkTextPlan, openTexts } as const;
export type TextsCode = typeof code;
