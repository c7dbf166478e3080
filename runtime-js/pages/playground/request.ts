// Makes requests of the playground's fields: what is empty is left out, and what is no good goes to the engine as it
// is, which refuses it by name.
import { type ChatMessage, type ChatRequest, type ChatTool, InvalidRequestError, type ResponseFormat } from "mlcweb";
import { NUMBERS, type Settings, type ToolFields } from "./settings.js";

/** What a chat and a completion of raw text have in common. */
export type SharedRequest = Omit<ChatRequest, "messages" | "tools" | "tool_choice">;

export const MOST_ROUNDS = 16;
const ROUNDS = 4;
export const ALTERNATIVES = 5;

export function sharedRequest(settings: Settings): SharedRequest {
  const request: Record<string, unknown> = {};
  for (const name of NUMBERS) if (settings[name].trim()) request[name] = amount(settings[name]);
  if (settings.stop) request.stop = settings.stop.split("\n").filter(Boolean).map(unescaped);
  if (settings.format !== "text") request.response_format = responseFormat(settings);
  if (settings.logprobs) {
    request.logprobs = true;
    request.top_logprobs = settings.top_logprobs.trim() ? amount(settings.top_logprobs) : ALTERNATIVES;
  }
  return request;
}

export function chatRequest(settings: Settings, turns: readonly ChatMessage[]): ChatRequest {
  const tools = settings.tools.map(toolOf);
  return {
    messages: settings.system.trim() ? [{ role: "system", content: settings.system }, ...turns] : [...turns],
    ...(tools.length > 0 && { tools }),
    ...(tools.length > 0 && settings.tool_choice !== "auto" && { tool_choice: choiceOf(settings.tool_choice) }),
    ...(tools.length > 0 && settings.single && { parallel_tool_calls: false }),
    ...sharedRequest(settings),
  };
}

/** How many times the model may be asked in one turn. */
export function roundsOf({ rounds }: Settings): number {
  if (!rounds.trim()) return ROUNDS;
  const most = Number(rounds);
  if (!Number.isInteger(most) || most < 1 || most > MOST_ROUNDS)
    throw new InvalidRequestError("rounds", `must be an integer from 1 to ${MOST_ROUNDS}.`);
  return most;
}

/** The field that holds the text of a format. */
export const FORMAT_FIELDS = { json_schema: "schema", regex: "regex", grammar: "grammar" } as const;

function responseFormat({ format, schema, regex, grammar }: Settings): ResponseFormat {
  switch (format) {
    case "json_schema":
      return {
        type: "json_schema",
        json_schema: { name: "answer", schema: json(schema, "response_format.json_schema.schema") as object },
      };
    case "regex":
      return { type: "regex", regex };
    case "grammar":
      return { type: "grammar", grammar };
    default:
      return { type: format } as ResponseFormat;
  }
}

function toolOf({ name, description, parameters }: ToolFields, i: number): ChatTool {
  const described = {
    name: name.trim(),
    ...(description.trim() && { description: description.trim() }),
    ...(parameters.trim() && {
      parameters: json(parameters, `tools[${i}].function.parameters`) as Record<string, unknown>,
    }),
  };
  return { type: "function", function: described };
}

function choiceOf(choice: string): NonNullable<ChatRequest["tool_choice"]> {
  return choice.startsWith("function:")
    ? { type: "function", function: { name: choice.slice("function:".length) } }
    : (choice as "auto" | "none" | "required");
}

function json(text: string, param: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new InvalidRequestError(param, text.trim() ? `is not JSON: ${(cause as Error).message}` : "is empty.");
  }
}

/** Text that is no number stays text, for the engine to refuse. */
function amount(text: string): number {
  const value = Number(text);
  return Number.isNaN(value) ? (text as unknown as number) : value;
}

const ESCAPES: Record<string, string> = { n: "\n", t: "\t", r: "\r", "\\": "\\" };
const unescaped = (line: string): string => line.replace(/\\([ntr\\])/g, (_, letter: string) => ESCAPES[letter]!);
