// Knows where each schema stands: its path for messages, and what a `$ref` in it means. Nothing is ever fetched.
import { InvalidRequestError } from "../../errors.js";
import { isObject, isSchema, type Json, type JsonObject, type Schema } from "./read.js";

export const words = (list: string) => new Set(list.split(" "));
const ONE = words(
  "not if then else items additionalItems additionalProperties contains propertyNames unevaluatedItems " +
    "unevaluatedProperties",
);
const LISTS = words("allOf anyOf oneOf prefixItems items");
const MAPS = words("properties patternProperties $defs definitions dependentSchemas dependencies");
const DRAFTS = /^https?:\/\/json-schema\.org\/(draft\/20(19-09|20-12)\/|draft-0[4-7]\/)?schema#?$/;

interface Place {
  readonly parent: JsonObject | undefined;
  readonly step: string;
  readonly base: string;
}

export class Scope {
  /** Up to draft 7 what stands beside a `$ref` has no meaning. */
  readonly refAlone: boolean;
  private readonly places = new Map<JsonObject, Place>();
  /** By absolute URI, an anchor behind `#`. */
  private readonly targets = new Map<string, Schema>();
  private readonly negations = new Map<JsonObject, JsonObject>();

  constructor(
    root: Schema,
    private readonly prefix: string,
  ) {
    const draft = isObject(root) ? root.get("$schema") : undefined;
    this.refAlone = typeof draft === "string" && draft.includes("/draft-0");
    if (!isObject(root)) return;
    if (draft !== undefined && !(typeof draft === "string" && DRAFTS.test(draft)))
      throw this.refusal(root, "$schema", "is not supported: only drafts 4 to 7, 2019-09 and 2020-12 are.");
    this.targets.set("schema:///", root);
    this.walk(root, { parent: undefined, step: "", base: "schema:///" });
  }

  path(schema: Schema): string {
    const steps: string[] = [];
    let at = isObject(schema) ? this.places.get(schema) : undefined;
    for (; at; at = at.parent && this.places.get(at.parent)) steps.unshift(at.step);
    return this.prefix + steps.join("");
  }

  refusal(schema: Schema, keyword: string, why: string): InvalidRequestError {
    return new InvalidRequestError(`${this.path(schema)}.${keyword}`, why);
  }

  /** A schema for what is not valid against this one. */
  negation(schema: Schema): Schema {
    if (!isObject(schema)) return !schema;
    let negation = this.negations.get(schema);
    if (!negation) {
      negation = new Map([["not", schema]]);
      this.negations.set(schema, negation);
      this.places.set(negation, this.places.get(schema)!);
    }
    return negation;
  }

  /** What the `$ref` of this schema names. */
  target(schema: JsonObject): Schema {
    const ref = schema.get("$ref");
    if (typeof ref !== "string") throw this.refusal(schema, "$ref", "must be a string.");
    const { resource, fragment } = resolve(ref, this.places.get(schema)!.base);
    const whole = this.targets.get(resource);
    let found: Json | undefined = fragment === "" ? whole : this.targets.get(`${resource}#${fragment}`);
    if (fragment.startsWith("/") && whole !== undefined) found = pointed(whole, fragment);
    if (found === undefined) {
      const outside = whole === undefined ? " It is outside of the schema, and nothing is fetched." : "";
      throw this.refusal(schema, "$ref", `${JSON.stringify(ref.slice(0, 200))} names no schema here.${outside}`);
    }
    if (!isSchema(found)) throw this.refusal(schema, "$ref", "names something that is no schema.");
    if (isObject(found) && !this.places.has(found))
      this.walk(found, { parent: schema, step: ".$ref", base: this.places.get(schema)!.base });
    return found;
  }

  private walk(root: JsonObject, place: Place): void {
    const stack: [Json, Place][] = [[root, place]];
    for (let next = stack.pop(); next; next = stack.pop()) {
      const [schema, at] = next;
      if (!isSchema(schema))
        throw new InvalidRequestError(this.path(at.parent!) + at.step, "must be a schema: an object, true or false.");
      if (!isObject(schema)) continue;
      const base = this.name(schema, at.base);
      this.places.set(schema, { ...at, base });
      for (const [step, child] of children(schema)) stack.push([child, { parent: schema, step, base }]);
    }
  }

  /** Registers the schema's `$id` and anchors. Returns the base of what is within. */
  private name(schema: JsonObject, outer: string): string {
    const id = schema.get("$id");
    let base = outer;
    if (typeof id === "string" && !(this.refAlone && schema.has("$ref"))) {
      const { resource, fragment } = resolve(id, outer);
      base = resource;
      this.targets.set(fragment === "" ? base : `${base}#${fragment}`, schema);
    }
    for (const keyword of ["$anchor", "$dynamicAnchor"])
      if (typeof schema.get(keyword) === "string") this.targets.set(`${base}#${schema.get(keyword)}`, schema);
    return base;
  }
}

function* children(schema: JsonObject): Generator<[string, Json]> {
  for (const [keyword, value] of schema) {
    if (LISTS.has(keyword) && Array.isArray(value)) yield* value.map(inList(keyword));
    else if (MAPS.has(keyword) && isObject(value)) {
      for (const [key, item] of value)
        if (keyword !== "dependencies" || !Array.isArray(item)) yield [`.${keyword}.${key}`, item];
    } else if (ONE.has(keyword)) yield [`.${keyword}`, value];
  }
}

const inList =
  (keyword: string) =>
  (item: Json, i: number): [string, Json] => [`.${keyword}[${i}]`, item];

function pointed(root: Json, pointer: string): Json | undefined {
  let at: Json | undefined = root;
  for (const token of pointer.split("/").slice(1)) {
    const key = token.replaceAll("~1", "/").replaceAll("~0", "~");
    if (isObject(at)) at = at.get(key);
    else at = Array.isArray(at) && /^(0|[1-9]\d*)$/.test(key) ? at[Number(key)] : undefined;
  }
  return at;
}

/** An absolute URI without its fragment, and the fragment decoded; what is no URI names nothing. */
function resolve(reference: string, base: string): { resource: string; fragment: string } {
  try {
    const url = new URL(reference, base);
    const fragment = decodeURIComponent(url.hash.slice(1));
    url.hash = "";
    return { resource: url.href, fragment };
  } catch {
    return { resource: reference, fragment: "" };
  }
}
