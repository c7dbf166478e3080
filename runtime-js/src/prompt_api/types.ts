// Declares what callers of the Prompt API give and get, as its specification names it.

export type Availability = "unavailable" | "downloadable" | "downloading" | "available";
export type Role = "system" | "user" | "assistant";
export interface TextContent {
  type: "text";
  value: string;
}
/** Bytes are those of a file, such as a PNG's. */
export interface ImageContent {
  type: "image";
  value: ImageBitmapSource | BufferSource;
}
export interface Message {
  role: Role;
  content: string | readonly (TextContent | ImageContent)[];
  /** The answer goes on from this message: for the last, which is the assistant's. */
  prefix?: boolean;
}
export type PromptInput = string | readonly Message[];

export interface Tool {
  name: string;
  description: string;
  /** A JSON Schema of an object. */
  inputSchema: object;
  /** Gets what the model gives, as one object; its result is told to the model. */
  execute: (input: Record<string, unknown>) => unknown;
}
export interface Expected {
  type: string;
  languages?: readonly string[];
}
export type SamplingMode =
  | "most-predictable"
  | "predictable"
  | "slightly-predictable"
  | "balanced"
  | "slightly-creative"
  | "creative"
  | "most-creative";

export interface CoreOptions {
  topK?: number;
  temperature?: number;
  samplingMode?: SamplingMode;
  expectedInputs?: readonly Expected[];
  expectedOutputs?: readonly Expected[];
  tools?: readonly Tool[];
}
/** Its events `downloadprogress` have `loaded`, from 0 to 1. */
export type CreateMonitor = EventTarget;
export interface CreateOptions extends CoreOptions {
  signal?: AbortSignal;
  monitor?: (monitor: CreateMonitor) => void;
  initialPrompts?: readonly Message[];
}
export interface PromptOptions {
  /** A JSON Schema, or a regular expression that the whole answer matches. */
  responseConstraint?: object | RegExp;
  /** Do not tell the model of the constraint. */
  omitResponseConstraintInput?: boolean;
  signal?: AbortSignal;
}
export interface SignalOption {
  signal?: AbortSignal;
}
export interface Params {
  readonly defaultTopK: number;
  readonly maxTopK: number;
  readonly defaultTemperature: number;
  readonly maxTemperature: number;
}
