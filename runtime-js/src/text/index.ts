// Text to tokens and back: the model's own tokenizer and chat template, a streaming detokenizer that never shows
// half a character, and stop strings.
export { TextCodec } from "./codec.js";
export { ChatTemplate, type ChatTurn, type RenderOptions, type ToolCall } from "./template.js";
export { StreamDecoder, type Decode } from "./stream.js";
export { StopStrings } from "./stop.js";
