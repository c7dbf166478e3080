// Checks what a chat request says to the model: messages, and variables of the chat template.
import { InvalidRequestError } from "../errors.js";
import type { ChatTurn, ToolCall } from "../text/template.js";
import { parseContent } from "./content.js";
import { asRecord, checkFlag, refuseOthers } from "./fields.js";

export type Fields = Record<string, unknown>;

const ROLES = ["system", "developer", "user", "assistant", "tool"];

export function parseMessages(value: unknown): ChatTurn[] {
  if (!Array.isArray(value) || value.length === 0)
    throw new InvalidRequestError("messages", "must be a list that is not empty.");
  return value.map((message: unknown, i): ChatTurn => {
    const path = `messages[${i}]`;
    const fields = (message ?? {}) as Fields;
    const { role } = fields;
    if (typeof role !== "string" || !ROLES.includes(role))
      throw new InvalidRequestError(`${path}.role`, `must be one of ${ROLES.join(", ")}.`);
    if (fields.tool_calls != null && role !== "assistant")
      throw new InvalidRequestError(`${path}.tool_calls`, "may stand only in the assistant's messages.");
    const calls = parseCalls(fields.tool_calls, `${path}.tool_calls`);
    // Neither a call nor reasoning needs words. Templates join contents, so none is the empty string.
    const wordless = calls !== undefined || fields.reasoning_content != null;
    const content = fields.content == null && wordless ? "" : parseContent(fields.content, `${path}.content`, role);
    return {
      role: role === "developer" ? "system" : role,
      content,
      ...strings(fields, path),
      ...(calls && { tool_calls: calls }),
    };
  });
}

/** Variables of the model's template. */
export const parseVariables = asRecord;

/** WebLLM's `extra_body`, whose `enable_thinking` is a variable of the model's template. */
export function parseExtraBody(body: unknown, name: string): Fields {
  const variables = without(asRecord(body, name));
  refuseOthers(variables, { enable_thinking: 0 }, `${name}.`);
  for (const value of Object.values(variables)) checkFlag(value, `${name}.enable_thinking`);
  return variables;
}

function strings(fields: Fields, path: string): Pick<ChatTurn, "name" | "tool_call_id" | "reasoning_content"> {
  const given: Record<string, string> = {};
  for (const key of ["name", "tool_call_id", "reasoning_content"]) {
    const value = fields[key];
    if (value == null) continue;
    if (typeof value !== "string") throw new InvalidRequestError(`${path}.${key}`, "must be a string.");
    given[key] = value;
  }
  return given;
}

/** OpenAI's arguments are JSON in a string; templates write objects as JSON themselves. */
function parseCalls(value: unknown, path: string): readonly ToolCall[] | undefined {
  if (value == null || (Array.isArray(value) && value.length === 0)) return undefined;
  if (!Array.isArray(value)) throw new InvalidRequestError(path, "must be a list.");
  return value.map((call: unknown, i): ToolCall => {
    const { id, function: called } = (call ?? {}) as Fields;
    const { name, arguments: given } = isRecord(called) ? called : {};
    if (typeof name !== "string") throw new InvalidRequestError(`${path}[${i}].function.name`, "must be a string.");
    if (id != null && typeof id !== "string") throw new InvalidRequestError(`${path}[${i}].id`, "must be a string.");
    return {
      ...(id != null && { id }),
      type: "function",
      function: { name, arguments: parseArguments(given, `${path}[${i}].function.arguments`) },
    };
  });
}

function parseArguments(given: unknown, path: string): object {
  let value: unknown = given ?? {};
  try {
    if (typeof value === "string") value = value.trim() === "" ? {} : (JSON.parse(value) as unknown);
  } catch {
    value = undefined;
  }
  if (!isRecord(value)) throw new InvalidRequestError(path, "must be a JSON object, in a string or not.");
  return value;
}

/** Without the fields that are null, which is as good as not given. */
export function without(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value != null));
}

export function isRecord(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
