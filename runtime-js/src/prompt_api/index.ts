// This folder offers the browsers' Prompt API (`LanguageModel`, sessions, prompt, promptStreaming) over an engine, for
// browsers that have none, or with a model of the page's own. prompt-api.js beside mlcweb.js has it.
export { createLanguageModel, install, type LanguageModelOptions, type LanguageModelStatic } from "./factory.js";
export type { Session } from "./session.js";
export type {
  Availability,
  CreateMonitor,
  CreateOptions,
  Message,
  PromptInput,
  PromptOptions,
  Tool,
} from "./types.js";
