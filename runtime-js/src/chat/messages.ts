// Checks what a chat request says to the model: its messages, the tools it may call, and its template's variables.
import { InvalidRequestError } from "../errors.js";
import type { ChatTurn, RenderOptions, ToolCall } from "../text/template.js";

type Fields = Record<string, unknown>;

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
      throw new InvalidRequestError(`${path}.tool_calls`, "are the assistant's.");
    const calls = parseCalls(fields.tool_calls, `${path}.tool_calls`);
    // A call needs no words. Templates join contents, so none is the empty string.
    const content = fields.content == null && calls ? "" : parseContent(fields.content, `${path}.content`);
    return {
      role: role === "developer" ? "system" : role,
      content,
      ...strings(fields, path),
      ...(calls && { tool_calls: calls }),
    };
  });
}

/** The tools that the template is given; undefined for none. */
export function parseTools(fields: Fields): readonly object[] | undefined {
  const { tools, tool_choice: choice } = fields;
  if (tools != null && !Array.isArray(tools)) throw new InvalidRequestError("tools", "must be a list.");
  const list = (tools ?? []) as unknown[];
  const checked = list.map((tool, i) => {
    const { type, function: described } = (tool ?? {}) as Fields;
    if (type !== "function" || !isRecord(described))
      throw new InvalidRequestError(`tools[${i}]`, 'must be {type: "function", function: {…}}.');
    if (typeof described.name !== "string" || described.name === "")
      throw new InvalidRequestError(`tools[${i}].function.name`, "must be a string that is not empty.");
    if (described.parameters != null && !isRecord(described.parameters))
      throw new InvalidRequestError(`tools[${i}].function.parameters`, "must be a JSON Schema.");
    // A template would print null. Inside the schema null may mean something.
    return { ...without(tool as Fields), function: without(described) };
  });
  if (choice != null && choice !== "auto" && choice !== "none")
    throw new InvalidRequestError("tool_choice", "must be auto or none: nothing makes a model call a tool.");
  if (fields.parallel_tool_calls === false && list.length > 0)
    throw new InvalidRequestError("parallel_tool_calls", "cannot be turned off.");
  return list.length === 0 || choice === "none" ? undefined : checked;
}

/** Variables of the model's template: `chat_template_kwargs`, and WebLLM's `extra_body.enable_thinking`. */
export function parseVariables(fields: Fields): RenderOptions["variables"] {
  const { chat_template_kwargs: given, extra_body: extra } = fields;
  if (given != null && !isRecord(given)) throw new InvalidRequestError("chat_template_kwargs", "must be an object.");
  if (extra != null && !isRecord(extra)) throw new InvalidRequestError("extra_body", "must be an object.");
  const variables: Fields = { ...given };
  for (const [key, value] of Object.entries(without(extra ?? {}))) {
    if (key !== "enable_thinking") throw new InvalidRequestError(`extra_body.${key}`, "is not a known parameter.");
    if (typeof value !== "boolean")
      throw new InvalidRequestError("extra_body.enable_thinking", "must be true or false.");
    variables[key] = value;
  }
  return Object.keys(variables).length > 0 ? variables : undefined;
}

function strings(fields: Fields, path: string): Pick<ChatTurn, "name" | "tool_call_id" | "reasoning_content"> {
  const found: Record<string, string> = {};
  for (const key of ["name", "tool_call_id", "reasoning_content"]) {
    const value = fields[key];
    if (value == null) continue;
    if (typeof value !== "string") throw new InvalidRequestError(`${path}.${key}`, "must be a string.");
    found[key] = value;
  }
  return found;
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

function parseContent(content: unknown, path: string): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) throw new InvalidRequestError(path, "must be a string or a list of text parts.");
  return content
    .map((part: unknown, i) => {
      const { type, text } = (part ?? {}) as Fields;
      if (type !== "text" || typeof text !== "string")
        throw new InvalidRequestError(`${path}[${i}]`, "only text parts are supported.");
      return text;
    })
    .join("");
}

/** Without the fields that are null, which is as good as not given. */
function without(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value != null));
}

function isRecord(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
