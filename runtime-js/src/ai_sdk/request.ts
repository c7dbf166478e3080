// Turns the AI SDK's options of a call into the engine's request, with warnings for what has no meaning here.
import type { LanguageModelV4CallOptions, SharedV4Warning } from "@ai-sdk/provider";
import type { ChatRequest } from "../chat/request.js";
import type { ResponseFormat } from "../chat/response_format.js";
import type { ChatTool } from "../chat/types.js";
import { messagesOf } from "./messages.js";

export interface Asked {
  readonly request: ChatRequest;
  readonly warnings: SharedV4Warning[];
}

/** `images`: the model takes pictures. */
export function requestOf(options: LanguageModelV4CallOptions, images: boolean): Asked {
  const warnings: SharedV4Warning[] = [];
  const { reasoning } = options;
  if (reasoning !== undefined && reasoning !== "provider-default")
    warnings.push({
      type: "unsupported",
      feature: "reasoning",
      details: "An effort is no number of tokens: give thinking_budget in providerOptions.mlcweb.",
    });
  const tools = toolsOf(options, warnings);
  const given: ChatRequest = {
    ...options.providerOptions?.mlcweb, // the engine's parameters by its own names, which it checks
    messages: messagesOf(options.prompt, images),
    ...defined({
      max_tokens: options.maxOutputTokens,
      temperature: options.temperature,
      top_p: options.topP,
      top_k: options.topK,
      presence_penalty: options.presencePenalty,
      frequency_penalty: options.frequencyPenalty,
      stop: options.stopSequences,
      seed: options.seed,
      response_format: formatOf(options.responseFormat),
      ...(tools.length > 0 && { tools, tool_choice: choiceOf(options.toolChoice) }),
    }),
  };
  return { request: given, warnings };
}

function toolsOf({ tools = [] }: LanguageModelV4CallOptions, warnings: SharedV4Warning[]): ChatTool[] {
  return tools.flatMap((tool): ChatTool[] => {
    if (tool.type === "provider") {
      warnings.push({ type: "unsupported", feature: `the provider's tool ${tool.id}` });
      return [];
    }
    const { name, description, inputSchema, strict, inputExamples } = tool;
    if (inputExamples) warnings.push({ type: "unsupported", feature: `inputExamples of the tool ${name}` });
    const parameters = inputSchema as Record<string, unknown>;
    return [{ type: "function", function: { name, parameters, ...defined({ description, strict }) } }];
  });
}

function choiceOf(choice: LanguageModelV4CallOptions["toolChoice"]): ChatRequest["tool_choice"] {
  if (choice?.type === "tool") return { type: "function", function: { name: choice.toolName } };
  return choice?.type;
}

function formatOf(format: LanguageModelV4CallOptions["responseFormat"]): ResponseFormat | undefined {
  if (format?.type !== "json") return undefined;
  const { schema, name = "answer", description } = format;
  if (!schema) return { type: "json_object" };
  return { type: "json_schema", json_schema: { name, schema, ...defined({ description }) } };
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };
function defined<T extends object>(fields: T): Defined<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Defined<T>;
}
