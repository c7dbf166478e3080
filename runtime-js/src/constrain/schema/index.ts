// Compiles a JSON Schema to a grammar whose texts are all valid against it. What it cannot say is refused by name.
import { InvalidRequestError } from "../../errors.js";
import type { Grammar } from "../grammar.js";
import { Emitter, type SchemaOptions } from "./emit.js";
import { isSchema, readJson } from "./read.js";

export type { SchemaOptions } from "./emit.js";

/**
 * The grammar of the JSON texts that are valid against a schema (draft 2020-12; drafts 4 to 7 where they are alike).
 * Throws InvalidRequestError, which names the path and the keyword: for what is no schema, for a keyword that is not
 * supported there, and for a schema that no value is valid against.
 */
export function schemaGrammar(schema: unknown, options: SchemaOptions = {}): Grammar {
  const { path = "schema" } = options;
  const root = readJson(schema, path);
  if (!isSchema(root)) throw new InvalidRequestError(path, "must be a schema: an object, true or false.");
  try {
    return new Emitter(root, options).grammar();
  } catch (error) {
    if (error instanceof RangeError) throw new InvalidRequestError(path, "is nested too deep."); // the stack is full
    throw error;
  }
}
