// This folder makes an engine a language model of Vercel's AI SDK (its specification v4, of `ai` 7), for generateText,
// streamText and all that build on them. ai-sdk.js beside mlcweb.js has it.
export { createMlcweb, mlcweb } from "./model.js";
