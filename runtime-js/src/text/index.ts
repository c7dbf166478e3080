// This folder turns text into tokens and back, with the model's own tokenizer and chat template. Its streaming decoder
// never shows half a character, and it finds stop strings.
export { TextCodec } from "./codec.js";
export { StopStrings } from "./stop.js";
export { type Decode, StreamDecoder } from "./stream.js";
export { ChatTemplate, type ChatTurn, type RenderOptions, type ToolCall } from "./template.js";
