// Declares what a request says of tools.

export interface ToolFunction {
  readonly name: string;
  readonly description?: string;
  /** A JSON Schema of the arguments, which are an object. */
  readonly parameters?: object;
  /** Its arguments must be what the schema says. */
  readonly strict?: boolean;
}
/** A tool as a request has it, without what is null. */
export interface Tool {
  readonly type: "function";
  readonly function: ToolFunction;
}
export type ToolChoice =
  | "auto"
  | "none"
  | "required"
  | { readonly type: "function"; readonly function: { readonly name: string } };
export interface ToolRequest {
  readonly tools: readonly Tool[];
  readonly choice: ToolChoice;
  /** Whether an answer may have several calls. */
  readonly parallel: boolean;
}
