// Text to tokens and back: the model's own tokenizer and chat template, a streaming detokenizer that never shows
// half a character, and stop strings.
export { TextCodec } from "./codec.js";
export { StopStrings } from "./stop.js";
export { type Decode, StreamDecoder } from "./stream.js";
export { ChatTemplate, type ChatTurn, type RenderOptions, type ToolCall } from "./template.js";
