// Turns structural tags, xgrammar's (WebLLM's `structural_tag`), into a grammar: free text with tags in it, which hold
// JSON of a schema, or what a grammar or a regular expression has.
import { asRecord, checkFlag, refuseOthers } from "../../chat/fields.js";
import { InvalidRequestError } from "../../errors.js";
import { Combined } from "../combine.js";
import { type Grammar, type Node, optional, text, without } from "../grammar.js";
import { ebnfGrammar } from "./ebnf.js";
import { regexNode } from "./regex.js";
import { either, joined, repeated } from "./simplify.js";

type ToGrammar = (schema: unknown, field: string) => Grammar;
type Fields = Record<string, unknown>;

/**
 * The grammar of a structural tag: `{type, format}`, a format by itself, or the older `{structures, triggers}`; JSON of
 * one does too. `field` is the request's, for errors. `schema` makes a schema's grammar.
 * Throws InvalidRequestError for what is no structural tag, and for formats that are not supported.
 */
export function structuralGrammar(tag: unknown, field: string, schema: ToGrammar): Grammar {
  const builder = new Builder(schema);
  const given = asRecord(typeof tag === "string" ? parsed(tag, field) : tag, field);
  if (given.structures !== undefined) {
    refuseOthers(given, known("structures triggers type"), `${field}.`);
    const tags = list(given.structures, `${field}.structures`).map((one, i) =>
      legacyTag(one, `${field}.structures[${i}]`),
    );
    return builder.grammar({ type: "triggered_tags", tags, triggers: given.triggers }, field);
  }
  if (given.format === undefined) return builder.grammar(given, field);
  refuseOthers(given, known("format type"), `${field}.`);
  return builder.grammar(given.format, `${field}.format`);
}

const known = (keys: string): Fields => Object.fromEntries(`type ${keys}`.split(" ").map((key) => [key, 0]));

function parsed(json: string, field: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new InvalidRequestError(field, `is not JSON: ${(error as Error).message}`);
  }
}

function legacyTag(value: unknown, field: string): Fields {
  const { begin, schema, end, ...others } = asRecord(value, field);
  refuseOthers(others, {}, `${field}.`);
  const json_schema = typeof schema === "string" ? parsed(schema, `${field}.schema`) : schema;
  return { type: "tag", begin, end, content: { type: "json_schema", json_schema } };
}

function list(value: unknown, field: string): readonly unknown[] {
  if (!Array.isArray(value) || value.length === 0)
    throw new InvalidRequestError(field, "must be a list of at least one.");
  return value;
}

function string(value: unknown, field: string): string {
  if (typeof value !== "string")
    throw new InvalidRequestError(field, "must be a string: tokens, as {type: 'token'}, are not supported.");
  return value;
}

const strings = (value: unknown, field: string): string[] =>
  list(value, field).map((one, i) => {
    const found = string(one, `${field}[${i}]`);
    if (!found) throw new InvalidRequestError(`${field}[${i}]`, "must not be empty.");
    return found;
  });

/** What a format may have beside its type. */
const KEYS: Record<string, string> = {
  const_string: "value",
  json_schema: "json_schema",
  any_text: "excludes",
  grammar: "grammar",
  regex: "pattern",
  sequence: "elements",
  or: "elements",
  optional: "content",
  plus: "content",
  star: "content",
  tag: "begin content end",
  triggered_tags: "triggers tags at_least_one stop_after_first excludes",
  tags_with_separator: "tags separator at_least_one stop_after_first",
};
const MAX_NESTING = 100;

/** `ends` are the texts that end the tag around a format: free text in it has none of them. */
class Builder {
  private readonly combined = new Combined();
  private depth = 0;

  constructor(private readonly schema: ToGrammar) {}

  grammar(format: unknown, field: string): Grammar {
    return { start: this.format(format, field, []), rules: this.combined.rules };
  }

  private format(value: unknown, field: string, ends: readonly string[]): Node {
    const given = asRecord(value, field),
      type = given.type ?? (given.begin === undefined ? undefined : "tag");
    if (typeof type !== "string" || !Object.hasOwn(KEYS, type))
      throw new InvalidRequestError(
        `${field}.type`,
        `${JSON.stringify(type)} is not supported; there are ${Object.keys(KEYS).join(", ")}.`,
      );
    refuseOthers(given, known(KEYS[type]!), `${field}.`);
    if (++this.depth > MAX_NESTING) throw new InvalidRequestError(field, `is nested more than ${MAX_NESTING} deep.`);
    const node = this.node(type, given, field, ends);
    this.depth--;
    return node;
  }

  private node(type: string, given: Fields, field: string, ends: readonly string[]): Node {
    const content = (min: number, max: number): Node =>
      repeated(this.format(given.content, `${field}.content`, ends), min, max);
    switch (type) {
      case "const_string":
        return text(string(given.value, `${field}.value`));
      case "json_schema":
        return this.combined.add(this.schema(given.json_schema, `${field}.json_schema`));
      case "any_text":
        return without(...ends, ...this.excludes(given, field));
      case "grammar":
        return this.combined.add(ebnfGrammar(string(given.grammar, `${field}.grammar`), `${field}.grammar`));
      case "regex":
        return regexNode(string(given.pattern, `${field}.pattern`), `${field}.pattern`);
      case "sequence":
        return joined(this.all(given, "elements", field, ends));
      case "or":
        return either(this.all(given, "elements", field, ends));
      case "optional":
        return content(0, 1);
      case "plus":
        return content(1, Infinity);
      case "star":
        return content(0, Infinity);
      case "tag":
        return this.tag(given, field);
      case "triggered_tags":
        return this.triggered(given, field, ends);
      default:
        return this.separated(given, field);
    }
  }

  private all(given: Fields, key: string, field: string, ends: readonly string[]): Node[] {
    return list(given[key], `${field}.${key}`).map((one, i) => this.format(one, `${field}.${key}[${i}]`, ends));
  }

  private excludes({ excludes }: Fields, field: string): string[] {
    if (excludes == null || (Array.isArray(excludes) && excludes.length === 0)) return [];
    return strings(excludes, `${field}.excludes`);
  }

  private flag(given: Fields, key: string, field: string): boolean {
    return checkFlag(given[key] ?? false, `${field}.${key}`);
  }

  private tag(given: Fields, field: string): Node {
    const begin = string(given.begin, `${field}.begin`),
      name = `${field}.end`;
    const ends = Array.isArray(given.end)
      ? list(given.end, name).map((one, i) => string(one, `${name}[${i}]`))
      : [string(given.end, name)];
    const content = this.format(
      given.content,
      `${field}.content`,
      ends.filter((end) => end),
    );
    return joined([text(begin), content, either(ends.map((end) => text(end)))]);
  }

  private tags(given: Fields, field: string, check: (begin: string, field: string) => void): Node {
    const tags = list(given.tags, `${field}.tags`).map((one, i) => {
      const name = `${field}.tags[${i}]`,
        tag = asRecord(one, name);
      if ((tag.type ?? "tag") !== "tag") throw new InvalidRequestError(`${name}.type`, "must be tag.");
      check(string(tag.begin, `${name}.begin`), `${name}.begin`);
      return this.format({ ...tag, type: "tag" }, name, []);
    });
    return either(tags);
  }

  /** Free text up to a trigger, which a tag must begin with, and so on. */
  private triggered(given: Fields, field: string, ends: readonly string[]): Node {
    const triggers = strings(given.triggers, `${field}.triggers`);
    const tag = this.tags(given, field, (begin, name) => {
      if (!triggers.some((trigger) => begin.startsWith(trigger)))
        throw new InvalidRequestError(name, "must begin with one of the triggers.");
    });
    const free = without(...triggers, ...ends, ...this.excludes(given, field));
    const first = this.flag(given, "at_least_one", field);
    if (this.flag(given, "stop_after_first", field)) return first ? tag : joined([free, optional(tag)]);
    return joined([first ? tag : joined([]), repeated(joined([free, tag]), 0, Infinity), free]);
  }

  private separated(given: Fields, field: string): Node {
    const tag = this.tags(given, field, () => {});
    const separator = text(string(given.separator, `${field}.separator`));
    const more = repeated(joined([separator, tag]), 0, Infinity);
    const some = this.flag(given, "stop_after_first", field) ? tag : joined([tag, more]);
    return this.flag(given, "at_least_one", field) ? some : repeated(some, 0, 1);
  }
}
