// This folder makes an engine a model of Vercel's AI SDK (its specification v4, of `ai` 7): for generateText,
// streamText and all that build on them, for embed, and for rerank. ai-sdk.js beside mlcweb.js has it.
export { createMlcweb, mlcweb } from "./model.js";
export { mlcwebEmbedding, mlcwebReranking } from "./texts.js";
