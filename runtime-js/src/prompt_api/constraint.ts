// Turns a prompt's `responseConstraint`, and the beginning of its answer, into the engine's response_format.
import type { ResponseFormat } from "../chat/response_format.js";
import { notSupported } from "./exceptions.js";
import type { PromptOptions } from "./types.js";

export interface Constraint {
  readonly format: ResponseFormat | undefined;
  /** What the model is told of it; empty where nothing. */
  readonly told: string;
}

/** Flags that do not change what a whole answer matches. */
const FLAGS = /^[dguvy]*$/;

export function parseConstraint(options: PromptOptions, prefix: string): Constraint {
  const { responseConstraint: given, omitResponseConstraintInput: omit } = options;
  if (given == null) {
    if (omit) throw new TypeError("omitResponseConstraintInput needs a responseConstraint.");
    return { format: prefix === "" ? undefined : begun(prefix, { type: "any_text" }), told: "" };
  }
  if (typeof given !== "object" || Array.isArray(given))
    throw new TypeError("A responseConstraint is a JSON Schema or a regular expression.");
  if (given instanceof RegExp) {
    const { source, flags } = given;
    if (!FLAGS.test(flags)) throw notSupported(`The flags ${flags} of a regular expression are not supported.`);
    return {
      format: prefix ? begun(prefix, { type: "regex", pattern: source }) : { type: "regex", regex: source },
      told: omit ? "" : `Answer with a text that this regular expression matches: ${source}`,
    };
  }
  const schema = given;
  return {
    format: prefix
      ? begun(prefix, { type: "json_schema", json_schema: schema })
      : { type: "json_schema", json_schema: { name: "response", schema } },
    told: omit ? "" : `Answer with JSON of this schema: ${JSON.stringify(schema)}`,
  };
}

/** The prefix, and what follows it. The engine feeds a text that must come, and samples what is open. */
const begun = (prefix: string, rest: object): ResponseFormat => ({
  type: "structural_tag",
  structural_tag: {
    type: "structural_tag",
    format: { type: "sequence", elements: [{ type: "const_string", value: prefix }, rest] },
  },
});
