// Exports all of mlcweb in one file: the engine, with the tokenizer and chat templates in it. `mlcweb/core` is the same
// without them.
export * from "./core.js";
export { ChatTemplate, StopStrings, StreamDecoder, TextCodec } from "./text/index.js";
