// This folder answers OpenAI's HTTP API in the page: `createFetch` makes a function that stands in for `fetch`, so that
// OpenAI's own client, or any other, talks to an engine. openai.js beside mlcweb.js has it.
export type { ChatSource } from "../chat/source.js";
export { createFetch, type FetchOptions, type Models } from "./fetch.js";
