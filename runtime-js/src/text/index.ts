// Text to tokens and back: the model's own tokenizer and chat template, a streaming detokenizer that never shows
// half a character, and stop strings.
export { TextCodec, type ChatTurn } from "./codec.js";
export { ChatTemplate } from "./template.js";
export { StreamDecoder, type Decode } from "./stream.js";
export { StopStrings } from "./stop.js";
