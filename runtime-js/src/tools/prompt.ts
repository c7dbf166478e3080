// Tells a model of tools whose chat template does not, and writes calls and results of earlier turns for templates that
// do not.
import type { ToolCallSyntax } from "../contract/index.js";
import { joinContents, wordsOf } from "../text/content.js";
import type { ChatTurn, ToolCall } from "../text/template.js";
import type { Tool } from "./types.js";

/** Tools as templates have them, keys in their order: whether one is strict is the engine's business. */
export const forTemplate = (tools: readonly Tool[]): Tool[] =>
  tools.map((tool) => {
    const { strict: _, ...described } = tool.function;
    return { ...tool, function: described };
  });

/** The conversation as the template is to be given it, and the tools for it, if it has a place for them. */
export function withTools(
  messages: readonly ChatTurn[],
  tools: readonly Tool[],
  syntax: ToolCallSyntax,
): { messages: readonly ChatTurn[]; tools: readonly object[] | undefined } {
  const turns = syntax.turns === "engine" ? written(messages, syntax) : messages;
  if (tools.length === 0) return { messages: turns, tools: undefined };
  if (syntax.tools === "template") return { messages: turns, tools: forTemplate(tools) };
  if (syntax.tools === "message") {
    const [first, rest] = systemFirst(turns);
    const given = { ...first, tools: JSON.stringify(forTemplate(tools).map((tool) => tool.function)) } as ChatTurn;
    return { messages: [given, ...rest], tools: undefined };
  }
  const [first, rest] = systemFirst(turns);
  const content = joinContents(first.content, described(tools, syntax), "\n\n");
  return { messages: [{ ...first, content }, ...rest], tools: undefined };
}

/** The system message as the beginning of the first user's, for templates that have no place for one. */
export function foldSystem(messages: readonly ChatTurn[]): readonly ChatTurn[] {
  const [first, ...rest] = messages;
  const at = rest.findIndex(({ role }) => role === "user");
  if (first?.role !== "system" || at < 0) return messages;
  return rest.map((turn, i) =>
    i === at ? { ...turn, content: joinContents(first.content, turn.content, "\n\n") } : turn,
  );
}

function systemFirst(messages: readonly ChatTurn[]): [ChatTurn, readonly ChatTurn[]] {
  const [first, ...rest] = messages;
  return first?.role === "system" ? [first, rest] : [{ role: "system", content: "" }, messages];
}

function described(tools: readonly Tool[], syntax: ToolCallSyntax): string {
  const list = forTemplate(tools)
    .map((tool) => JSON.stringify(tool))
    .join("\n");
  const example = writeCalls(syntax, [{ function: { name: "function_name", arguments: { argument_name: "value" } } }]);
  return (
    "You may call functions to help with the user's request. These functions are available:\n" +
    `<tools>\n${list}\n</tools>\n\n` +
    `To call a function, write its name and its arguments in exactly this format:\n${example}` +
    "\n\nThe result then comes in <tool_response> tags. Where no function is needed, answer in plain words."
  );
}

/** Turns of calls and results, as turns of words. */
function written(messages: readonly ChatTurn[], syntax: ToolCallSyntax): ChatTurn[] {
  const turns: ChatTurn[] = [];
  let results = false;
  for (const turn of messages) {
    const last = turns.at(-1);
    if (turn.role === "tool") {
      const content = `<tool_response>\n${wordsOf(turn.content)}\n</tool_response>`;
      if (results && last) turns[turns.length - 1] = { ...last, content: joinContents(last.content, content, "\n") };
      else turns.push({ role: "user", content });
    } else if (turn.tool_calls) {
      const { tool_calls: calls, ...rest } = turn;
      turns.push({ ...rest, content: joinContents(turn.content, writeCalls(syntax, calls), "\n") });
    } else turns.push(turn);
    results = turn.role === "tool";
  }
  return turns;
}

/** Calls as the model writes them. */
export function writeCalls(syntax: ToolCallSyntax, calls: readonly ToolCall[]): string {
  const each = calls.map(({ function: { name, arguments: given } }) => {
    const object = given as Record<string, unknown>;
    return syntax.call_begin + writeCall(syntax, name, object) + syntax.call_end;
  });
  return syntax.begin + each.join(syntax.separator ?? "\n") + syntax.end;
}

function writeCall(syntax: ToolCallSyntax, name: string, given: Record<string, unknown>): string {
  const { name_end: nameEnd = "", key_begin: keyBegin = "", key_end: keyEnd = "", value_end: valueEnd = "" } = syntax;
  switch (syntax.form) {
    case "json":
      return `{${[
        [syntax.name_key, name],
        [syntax.arguments_key, given],
      ]
        .map((pair) => pair.map((part) => JSON.stringify(part)).join(": "))
        .join(", ")}}`;
    case "named-json":
      return name + nameEnd + JSON.stringify(given);
    case "pythonic":
      return `${name}(${Object.entries(given)
        .map(([key, value]) => `${key}=${python(value)}`)
        .join(", ")})`;
    case "tagged":
      return (
        name +
        nameEnd +
        Object.entries(given)
          .map(
            ([key, value]) =>
              keyBegin + key + keyEnd + (typeof value === "string" ? value : JSON.stringify(value)) + valueEnd,
          )
          .join("")
      );
  }
}

function python(value: unknown): string {
  if (value === true) return "True";
  if (value === false) return "False";
  if (value === null) return "None";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object")
    return `{${Object.entries(value as object)
      .map(([key, item]) => `${JSON.stringify(key)}: ${python(item)}`)
      .join(", ")}}`;
  return JSON.stringify(value);
}
