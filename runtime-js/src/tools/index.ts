// This folder knows how models write tool calls and reasoning: it reads them out of answers, writes them into prompts,
// and says which grammar enforces them. A bundle's manifest says which of the ways is its model's. A page fetches it as
// a chunk of its own, when a request has tools or the model reasons.
export { type ReasoningBudget, reasoningBudget } from "./budget.js";
export { type Format, type StructuralTag, type Tag, toolGrammar } from "./grammar.js";
export type { CallDelta, Parts } from "./parts.js";
export { foldSystem, forTemplate, withTools, writeCalls } from "./prompt.js";
export { AnswerReader, type ReaderOptions } from "./reader.js";
export { callSyntax, markersOf } from "./syntax.js";
export type { Tool, ToolChoice, ToolFunction, ToolRequest } from "./types.js";
