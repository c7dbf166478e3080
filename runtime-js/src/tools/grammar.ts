// Says which answers are calls of given tools, in the vocabulary of xgrammar's structural tags. It compiles nothing.
import type { ToolCallSyntax } from "../contract/index.js";
import type { ToolChoice, ToolFunction } from "./types.js";

export type Format =
  | { readonly type: "const_string"; readonly value: string }
  | { readonly type: "json_schema"; readonly json_schema: object }
  | { readonly type: "any_text" }
  | { readonly type: "sequence"; readonly elements: readonly Format[] }
  | { readonly type: "or"; readonly elements: readonly Format[] }
  | Tag
  | {
      readonly type: "triggered_tags";
      readonly triggers: readonly string[];
      readonly tags: readonly Tag[];
      readonly at_least_one: boolean;
      readonly stop_after_first: boolean;
    }
  | {
      readonly type: "tags_with_separator";
      readonly tags: readonly Tag[];
      readonly separator: string;
      readonly at_least_one: boolean;
      readonly stop_after_first: boolean;
    };
export interface Tag {
  readonly type: "tag";
  readonly begin: string;
  readonly content: Format;
  readonly end: string;
}
export interface StructuralTag {
  readonly type: "structural_tag";
  readonly format: Format;
}

/** What an answer must be for a choice of tools; undefined where nothing is to be enforced. `required` and a name make
 * it calls and nothing else. `auto` leaves it free until a call begins: where calls have no marker to begin with, that
 * is only known of tools that are `strict`. A name is called once. */
export function toolGrammar(
  syntax: ToolCallSyntax,
  tools: readonly ToolFunction[],
  choice: ToolChoice,
  parallel: boolean,
): StructuralTag | undefined {
  if (choice === "none" || tools.length === 0) return undefined;
  const named = typeof choice === "object";
  const chosen = named ? tools.filter(({ name }) => name === choice.function.name) : tools;
  const one = named || !parallel || syntax.separator === undefined;
  if (choice !== "auto") return { type: "structural_tag", format: calls(syntax, chosen, one) };
  const first = syntax.begin.trim() || syntax.call_begin.trim();
  const trigger = first.split(/\s/)[0]!;
  if (trigger.length > 1) return triggered(trigger, sections(syntax, chosen, one), one);
  if (syntax.form !== "json" || !chosen.some(({ strict }) => strict)) return undefined;
  return triggered(`${syntax.begin}{${JSON.stringify(syntax.name_key)}: "`, sections(syntax, chosen, one), one);
}

const triggered = (trigger: string, tags: readonly Tag[], one: boolean): StructuralTag => ({
  type: "structural_tag",
  format: { type: "triggered_tags", triggers: [trigger], tags, at_least_one: false, stop_after_first: one },
});

/** Calls with what is around all of them, as tags: where nothing is, each call is one. */
function sections(syntax: ToolCallSyntax, tools: readonly ToolFunction[], one: boolean): Tag[] {
  if (syntax.begin.trim() === "") return tools.map((tool) => call(syntax, tool));
  const { begin, end } = syntax;
  return [{ type: "tag", begin, content: separated(syntax, tools, one), end }];
}

function calls(syntax: ToolCallSyntax, tools: readonly ToolFunction[], one: boolean): Format {
  const inside = separated(syntax, tools, one);
  return syntax.begin || syntax.end ? sequence(text(syntax.begin), inside, text(syntax.end)) : inside;
}

const separated = (syntax: ToolCallSyntax, tools: readonly ToolFunction[], one: boolean): Format => ({
  type: "tags_with_separator",
  tags: tools.map((tool) => call(syntax, tool)),
  separator: syntax.separator ?? "",
  at_least_one: true,
  stop_after_first: one,
});

function call(syntax: ToolCallSyntax, { name, parameters }: ToolFunction): Tag {
  const { form, call_begin: begin, call_end: end, name_end: nameEnd = "" } = syntax;
  const schema = parameters ?? { type: "object" };
  const tag = (before: string, content: Format, after: string): Tag => ({
    type: "tag",
    begin: begin + before,
    content,
    end: after + end,
  });
  switch (form) {
    case "json": {
      const [key, value] = [syntax.name_key, syntax.arguments_key].map((k) => JSON.stringify(k));
      return tag(`{${key}: ${JSON.stringify(name)}, ${value}: `, json(schema), "}");
    }
    case "named-json":
      return tag(name + nameEnd, json(schema), "");
    case "tagged":
      return tag(name + nameEnd, sequence(...tagged(syntax, schema)), "");
    case "pythonic":
      return tag(`${name}(`, pythonic(schema), ")");
  }
}

interface Property {
  readonly key: string;
  readonly schema: Record<string, unknown>;
  readonly required: boolean;
}

/** A schema's properties, each with the definitions that it may refer to. */
function properties(schema: object): Property[] {
  const { properties = {}, required = [], $defs, definitions } = schema as Record<string, unknown>;
  const shared = { ...($defs !== undefined && { $defs }), ...(definitions !== undefined && { definitions }) };
  return Object.entries(properties as Record<string, object>).map(([key, own]) => ({
    key,
    schema: { ...own, ...shared },
    required: (required as string[]).includes(key),
  }));
}

/** An argument's text is as it is; other values are JSON. */
function tagged(syntax: ToolCallSyntax, schema: object): Format[] {
  return properties(schema).map(({ key, schema, required }) => {
    const plain = schema.type === "string" && schema.enum === undefined && schema.const === undefined;
    const argument: Tag = {
      type: "tag",
      begin: (syntax.key_begin ?? "") + key + (syntax.key_end ?? ""),
      content: plain ? { type: "any_text" } : (strings(schema) ?? json(schema)),
      end: syntax.value_end ?? "",
    };
    return required ? argument : { type: "or", elements: [argument, text("")] };
  });
}

/** A choice among texts. */
function strings({ enum: values, const: value }: Record<string, unknown>): Format | undefined {
  const all = Array.isArray(values) ? (values as unknown[]) : value === undefined ? [] : [value];
  if (all.length === 0 || !all.every((each) => typeof each === "string")) return undefined;
  return { type: "or", elements: all.map(text) };
}

/** Named arguments in the schema's order. JSON is Python but for its words. */
function pythonic(schema: object): Format {
  const all = properties(schema);
  const argument = ({ key, schema }: Property, separator: string): Format =>
    sequence(text(`${separator}${key}=`), pythonValue(schema));
  /** From the argument at `at` on, when others came before it. */
  const rest = (at: number): Format[] =>
    all.slice(at).map((each) => {
      const given = argument(each, ", ");
      return each.required ? given : { type: "or", elements: [given, text("")] };
    });
  const firsts: Format[] = [];
  for (const [at, each] of all.entries()) {
    firsts.push(sequence(argument(each, ""), ...rest(at + 1)));
    if (each.required) return firsts.length === 1 ? firsts[0]! : { type: "or", elements: firsts };
  }
  return firsts.length === 0 ? text("") : { type: "or", elements: [...firsts, text("")] };
}

function pythonValue(schema: Record<string, unknown>): Format {
  if (schema.type === "boolean") return { type: "or", elements: [text("True"), text("False")] };
  if (schema.type === "null") return text("None");
  return json(schema);
}

const text = (value: string): Format => ({ type: "const_string", value });
const json = (schema: object): Format => ({ type: "json_schema", json_schema: schema });
const sequence = (...elements: Format[]): Format =>
  elements.length === 1 ? elements[0]! : elements.length === 0 ? text("") : { type: "sequence", elements };
