// This folder makes of pictures what a vision tower reads: it decodes, resizes and cuts them into patches, and writes
// their places into prompts. The engine fetches it with the first picture.
import { code as own } from "./code.js";

/** For the engine, which alone knows its type. */
export const code: unknown = own;
