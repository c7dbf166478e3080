// Texts made at random from schemas' grammars: each parses, and Ajv, which knows nothing of grammars, finds it valid.
/// <reference types="vite/client" />
import Ajv from "ajv";
import Ajv2020 from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { describe, expect, it } from "vitest";
import { Automaton, accepts } from "../src/constrain/automaton.js";
import { compileGrammar } from "../src/constrain/program.js";
import { type SchemaOptions, schemaGrammar } from "../src/constrain/schema/index.js";
import { InvalidRequestError } from "../src/errors.js";
import { RandomTexts, randomNumbers } from "./random_texts.js";
import { SCHEMAS } from "./schemas.js";

/** Ajv heeds an $id beside a $ref, which draft 7 forbids. */
const AJV_IS_WRONG = ["$ref prevents a sibling $id from changing the base uri"];
const encoder = new TextEncoder();
const suites = import.meta.glob<string>("./json_schema_suite/*.json", {
  eager: true,
  query: "?raw",
  import: "default",
});

function validator(schema: unknown, legacy: boolean) {
  const options = {
    strict: false,
    validateSchema: false,
    logger: false,
    ownProperties: true,
    multipleOfPrecision: 9,
  } as const;
  const ajv = legacy ? new Ajv(options) : new Ajv2020(options);
  addFormats.default(ajv as Ajv);
  return ajv.compile(schema as object);
}

/** The texts that are not valid; none where Ajv itself cannot follow the schema. */
function invalid(schema: unknown, legacy: boolean, count: number, options?: SchemaOptions): string[] | undefined {
  const dialect = legacy && typeof schema === "object" ? { $schema: "http://json-schema.org/draft-07/schema#" } : {};
  const grammar = schemaGrammar(typeof schema === "object" ? { ...dialect, ...schema } : schema, options);
  let validate: ReturnType<typeof validator>;
  try {
    validate = validator(schema, legacy);
    validate({});
  } catch {
    return undefined;
  }
  const texts = new RandomTexts(grammar, randomNumbers(1));
  const automaton = new Automaton(compileGrammar(grammar));
  const bad: string[] = [];
  for (let i = 0; i < count; i++) {
    const text = texts.next();
    if (!accepts(automaton, encoder.encode(text))) bad.push(`not of the grammar: ${text}`);
    if (!validate(JSON.parse(text))) bad.push(`${text}: ${JSON.stringify(validate.errors?.[0])}`);
  }
  return bad;
}

describe("texts of a schema's grammar", () => {
  it.each(Object.entries(SCHEMAS))("are valid: %s", (_, schema) => {
    expect(invalid(schema, false, 40)).toEqual([]);
  });

  it.each(Object.entries(SCHEMAS))("are valid where objects are closed: %s", (_, schema) => {
    expect(invalid(schema, false, 10, { closed: true })).toEqual([]);
  });

  it.each(["draft2020-12", "draft7"])("are valid for the official suite's schemas: %s", (draft) => {
    const files: Record<string, { description: string; schema: unknown }[]> = JSON.parse(
      suites[`./json_schema_suite/${draft}.json`]!,
    );
    const bad: string[] = [];
    let checked = 0;
    for (const [file, groups] of Object.entries(files))
      for (const { description, schema } of groups) {
        if (AJV_IS_WRONG.includes(description)) continue;
        const found = supported(() => invalid(schema, draft === "draft7", 20));
        if (!found) continue;
        bad.push(...found.map((text) => `${file}: ${description}: ${text}`));
        checked++;
      }
    console.log(`${draft}: ${checked * 20} texts of ${checked} schemas`);
    expect(bad).toEqual([]);
    expect(checked).toBeGreaterThan(250);
  });
});

/** What it gives, or undefined where the schema is refused. */
function supported<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    if (error instanceof InvalidRequestError) return undefined;
    throw error;
  }
}
