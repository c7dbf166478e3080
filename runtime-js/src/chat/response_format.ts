// Checks what form a request wants its answer in. The chunk `constrain` makes a grammar of it.
import { InvalidRequestError } from "../errors.js";
import { asRecord, checkFlag, refuseOthers } from "./fields.js";

/** OpenAI's forms, WebLLM's (`schema` beside json_object, `grammar`, `structural_tag`), and a regular expression. */
export type ResponseFormat =
  | { type?: "text" | null }
  | { type: "json_object"; schema?: string | object | null }
  | {
      type: "json_schema";
      json_schema: {
        name?: string | null;
        description?: string | null;
        schema?: object | null;
        strict?: boolean | null;
      };
    }
  | { type: "grammar"; grammar: string }
  | { type: "regex"; regex: string }
  | { type: "structural_tag"; structural_tag: object | string };

/** What an answer must be; `field` is the request's that says so. */
export type AnswerFormat = { readonly field: string } & (
  | { readonly kind: "schema"; readonly schema: unknown }
  | { readonly kind: "grammar"; readonly grammar: string }
  | { readonly kind: "regex"; readonly regex: string }
  | { readonly kind: "tags"; readonly tags: unknown }
);

/** What the answers of a request are held to. */
export interface AnswerRules {
  /** An answer is one of these. */
  readonly formats: readonly AnswerFormat[];
  /** Markers of reasoning, which may be anything and comes first; `opened`: the prompt has begun it. */
  readonly reasoning?: { readonly begin: string; readonly end: string; readonly opened: boolean } | undefined;
  /** The request asks for it: where it cannot be made, the request is refused. */
  readonly asked: boolean;
}

const KEYS: Readonly<Record<string, readonly string[]>> = {
  text: [],
  json_object: ["schema"],
  json_schema: ["json_schema"],
  grammar: ["grammar"],
  regex: ["regex"],
  structural_tag: ["structural_tag", "structures", "triggers", "format"],
};

/** undefined for text, which may be anything. */
export function parseResponseFormat(value: unknown, name: string): AnswerFormat | undefined {
  const format = asRecord(value, name);
  const type = format.type ?? "text";
  const keys = typeof type === "string" && Object.hasOwn(KEYS, type) ? KEYS[type] : undefined;
  if (!keys) throw new InvalidRequestError(`${name}.type`, `must be one of ${Object.keys(KEYS).join(", ")}.`);
  refuseOthers(format, Object.fromEntries(["type", ...keys].map((key) => [key, 0])), `${name}.`);
  switch (type) {
    case "json_object":
      return schemaFormat(format.schema ?? { type: "object" }, `${name}.schema`);
    case "json_schema": {
      const given = asRecord(format.json_schema, `${name}.json_schema`);
      refuseOthers(given, { name: 0, description: 0, schema: 0, strict: 0 }, `${name}.json_schema.`);
      checkFlag(given.strict ?? false, `${name}.json_schema.strict`);
      return schemaFormat(given.schema ?? { type: "object" }, `${name}.json_schema.schema`);
    }
    case "grammar":
      return { kind: "grammar", grammar: checkText(format.grammar, `${name}.grammar`), field: `${name}.grammar` };
    case "regex":
      return { kind: "regex", regex: checkText(format.regex, `${name}.regex`), field: `${name}.regex` };
    case "structural_tag": {
      const { structural_tag: tags, ...inPlace } = format;
      const field = tags == null ? name : `${name}.structural_tag`;
      return { kind: "tags", tags: typeof tags === "string" ? parseJson(tags, field) : (tags ?? inPlace), field };
    }
    default:
      return undefined;
  }
}

function schemaFormat(schema: unknown, field: string): AnswerFormat {
  return { kind: "schema", schema: typeof schema === "string" ? parseJson(schema, field) : schema, field };
}

function parseJson(json: string, field: string): unknown {
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw new InvalidRequestError(field, `is not JSON: ${(cause as Error).message}`);
  }
}

function checkText(value: unknown, field: string): string {
  if (typeof value !== "string" || value === "")
    throw new InvalidRequestError(field, "must be a string that is not empty.");
  return value;
}
