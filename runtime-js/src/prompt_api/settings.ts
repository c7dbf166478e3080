// Checks the options that a session is created with.
import type { ChatRequest } from "../chat/request.js";
import { notSupported } from "./exceptions.js";
import type { CoreOptions, Params, SamplingMode, Tool } from "./types.js";

export const PARAMS: Params = { defaultTopK: 40, maxTopK: 1000, defaultTemperature: 0.8, maxTemperature: 2 };

/** Temperatures of the specification's modes. */
const MODES: Readonly<Record<SamplingMode, number>> = {
  "most-predictable": 0,
  predictable: 0.4,
  "slightly-predictable": 0.6,
  balanced: PARAMS.defaultTemperature,
  "slightly-creative": 1,
  creative: 1.2,
  "most-creative": 1.5,
};

export interface Settings {
  readonly temperature: number;
  readonly topK: number;
  /** null where the other two were given. */
  readonly samplingMode: SamplingMode | null;
  readonly sampling: Pick<ChatRequest, "temperature" | "top_k">;
  readonly tools: readonly Tool[];
  /** Prompts may have pictures. */
  readonly images: boolean;
}

/** Throws TypeError or RangeError for options that are wrong, and NotSupportedError for those that no bundle has. */
export function parseSettings(options: CoreOptions): Settings {
  const { tools = [], samplingMode } = options;
  checkExpected(options.expectedInputs, ["text", "image", "tool-call", "tool-response"]);
  checkExpected(options.expectedOutputs, ["text", "tool-call"]);
  if ("thinking" in options && options.thinking != null) throw notSupported("thinking is not supported.");
  for (const tool of tools) checkTool(tool);
  const raw = options.temperature !== undefined || options.topK !== undefined;
  if (raw && samplingMode !== undefined) throw new TypeError("samplingMode does not go with temperature or topK.");
  if (samplingMode !== undefined && !Object.hasOwn(MODES, samplingMode))
    throw new TypeError(`samplingMode is one of ${Object.keys(MODES).join(", ")}.`);
  const mode = raw ? null : (samplingMode ?? "balanced");
  const temperature = mode ? MODES[mode] : atMost(options.temperature, "temperature", 0, PARAMS.maxTemperature);
  const topK = Math.floor(atMost(options.topK, "topK", 1, PARAMS.maxTopK) ?? PARAMS.defaultTopK);
  const chosen = temperature ?? PARAMS.defaultTemperature;
  return {
    temperature: chosen,
    topK,
    samplingMode: mode,
    sampling: { temperature: chosen, top_k: topK },
    tools: [...tools],
    images: (options.expectedInputs ?? []).some(({ type }) => type === "image"),
  };
}

function atMost(value: number | undefined, name: string, least: number, most: number): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "number" || Number.isNaN(value)) throw new TypeError(`${name} is a number.`);
  if (value < least) throw new RangeError(`${name} is at least ${least}.`);
  return Math.min(value, most);
}

function checkExpected(expected: CoreOptions["expectedInputs"], known: readonly string[]): void {
  for (const { type, languages = [] } of expected ?? []) {
    Intl.getCanonicalLocales([...languages]); // throws RangeError
    if (!known.includes(type)) throw notSupported(`Models here know ${known.join(", ")}, and no ${type}.`);
  }
}

function checkTool(tool: Tool): void {
  const { name, description, inputSchema, execute } = tool ?? {};
  if (typeof name !== "string" || name === "" || typeof description !== "string")
    throw new TypeError("A tool has a name and a description.");
  if (typeof inputSchema !== "object" || inputSchema === null)
    throw new TypeError(`The tool ${name} has no inputSchema.`);
  if (execute === undefined) throw notSupported(`The tool ${name} has no execute: tools are called by the session.`);
  if (typeof execute !== "function") throw new TypeError(`execute of the tool ${name} is a function.`);
}
