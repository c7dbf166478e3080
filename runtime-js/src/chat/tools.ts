// Checks what a chat request says of tools.
import { InvalidRequestError } from "../errors.js";
import type { Tool, ToolChoice } from "../tools/index.js";
import { checkFlag } from "./fields.js";
import { type Fields, isRecord, without } from "./messages.js";

export function parseTools(tools: unknown, name: string): readonly Tool[] {
  if (!Array.isArray(tools)) throw new InvalidRequestError(name, "must be a list.");
  const names = new Set<string>();
  return tools.map((tool: unknown, i) => {
    const path = `${name}[${i}]`;
    const { type, function: described } = (tool ?? {}) as Fields;
    if (type !== "function" || !isRecord(described))
      throw new InvalidRequestError(path, 'must be {type: "function", function: {…}}.');
    if (typeof described.name !== "string" || described.name === "")
      throw new InvalidRequestError(`${path}.function.name`, "must be a string that is not empty.");
    if (names.has(described.name))
      throw new InvalidRequestError(`${path}.function.name`, `is another tool's too: ${described.name}.`);
    names.add(described.name);
    if (described.parameters != null && !isRecord(described.parameters))
      throw new InvalidRequestError(`${path}.function.parameters`, "must be a JSON Schema.");
    if (described.strict != null) checkFlag(described.strict, `${path}.function.strict`);
    // A template would print null. Inside the schema null may mean something.
    return { ...without(tool as Fields), function: without(described) } as unknown as Tool;
  });
}

export function parseToolChoice(choice: unknown, name: string): ToolChoice {
  if (choice === "auto" || choice === "none" || choice === "required") return choice;
  const { type, function: called } = isRecord(choice) ? choice : {};
  if (type !== "function" || !isRecord(called) || typeof called.name !== "string")
    throw new InvalidRequestError(name, 'must be auto, none, required, or {type: "function", function: {name}}.');
  return { type, function: { name: called.name } };
}

/** Throws where there is nothing to choose from. */
export function checkChoice(choice: ToolChoice, tools: readonly Tool[]): void {
  if (choice === "required" && tools.length === 0) throw new InvalidRequestError("tool_choice", "needs tools.");
  if (typeof choice === "object" && !tools.some((tool) => tool.function.name === choice.function.name))
    throw new InvalidRequestError("tool_choice", `names ${choice.function.name}, which is not among the tools.`);
}
