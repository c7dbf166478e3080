// Says which syntax a model's calls have.
import type { AnswerSyntax, ToolCallSyntax } from "../contract/index.js";

/** Hermes' and Qwen's. */
const HERMES: ToolCallSyntax = {
  form: "json",
  tools: "engine",
  turns: "engine",
  begin: "",
  call_begin: "<tool_call>\n",
  call_end: "\n</tool_call>",
  separator: "\n",
  end: "",
  name_key: "name",
  arguments_key: "arguments",
};

/** The manifest's; undefined where its compiler could not describe the template's. A bundle of a compiler that did not
 * look is taken for Hermes'. */
export function callSyntax(answers: AnswerSyntax | undefined, templateHasTools: boolean): ToolCallSyntax | undefined {
  if (answers) return answers.tool_calls;
  return templateHasTools ? { ...HERMES, tools: "template", turns: "template" } : HERMES;
}

/** All that is written around calls and reasoning. */
export const markersOf = (answers: AnswerSyntax): string[] =>
  [...Object.values(answers.tool_calls ?? {}), ...Object.values(answers.reasoning ?? {})] as string[];
