// Turns forms into rules of a grammar: one for each set of schemas that some value must be valid against.
import { InvalidRequestError } from "../../errors.js";
import { choice, type Grammar, type Node, rule, sequence, text } from "../grammar.js";
import { productive } from "../productive.js";
import { arrayNode } from "./arrays.js";
import type { Form, StringForm } from "./forms.js";
import { Normalizer } from "./normalize.js";
import { numberNode } from "./numbers.js";
import { objectNode } from "./objects.js";
import { isObject, type Json, type Schema } from "./read.js";
import { Scope } from "./scope.js";
import { oneOfTexts } from "./texts.js";

export interface SchemaOptions {
  /** What messages call the schema. */
  readonly path?: string;
  /** Objects that have properties, and say nothing of others, have no others. */
  readonly closed?: boolean;
  /** Between items, and between a key and its value. */
  readonly separators?: readonly [item: string, key: string];
}

const NODES = 200_000;

export class Emitter {
  readonly normalizer: Normalizer;
  readonly comma: Node;
  readonly colon: string;
  readonly closed: boolean;
  private readonly scope: Scope;
  private readonly separators: readonly [string, string];
  private readonly rules = new Map<string, Node>();
  private readonly names = new Map<string, string>();
  private readonly queue: (readonly Schema[])[] = [];
  private left = NODES;

  constructor(
    private readonly root: Schema,
    { path = "schema", separators = [", ", ": "], closed = false }: SchemaOptions,
  ) {
    this.scope = new Scope(root, path);
    this.normalizer = new Normalizer(this.scope);
    this.separators = separators;
    this.comma = text(separators[0]);
    this.colon = separators[1];
    this.closed = closed;
  }

  grammar(): Grammar {
    const start = this.value([this.root]);
    for (const schemas of this.queue) {
      const name = this.names.get(this.normalizer.key(schemas))!;
      this.define(name, this.union(schemas, name));
    }
    const grammar = productive({ start, rules: this.rules });
    if (!grammar) throw new InvalidRequestError(this.scope.path(this.root), "no value is valid against this schema.");
    return grammar;
  }

  /** What is valid against all of the schemas. */
  value(schemas: readonly Schema[]): Node {
    const key = this.normalizer.key(schemas);
    let name = this.names.get(key);
    if (!name) {
      name = `s${this.names.size}`;
      this.names.set(key, name);
      this.queue.push(schemas);
    }
    return rule(name);
  }

  define = (name: string, node: Node): void => {
    this.spend(size(node));
    this.rules.set(name, node);
  };

  spend(nodes: number): void {
    this.left -= nodes;
    if (this.left < 0) throw new InvalidRequestError(this.scope.path(this.root), "is too large to be compiled.");
  }

  /** A string with its quotes. */
  quoted(form: StringForm, name: string, refuse: Refuse): Node {
    return sequence(text('"'), this.normalizer.logic.languages.contents(form, name, this.define, refuse), text('"'));
  }

  json(value: Json): string {
    const [comma, colon] = this.separators;
    if (Array.isArray(value)) return `[${value.map((item) => this.json(item)).join(comma)}]`;
    if (!isObject(value)) return JSON.stringify(value);
    const members = [...value].map(([key, item]) => JSON.stringify(key) + colon + this.json(item));
    return `{${members.join(comma)}}`;
  }

  private union(schemas: readonly Schema[], name: string): Node {
    const forms = this.normalizer.forms(schemas);
    const refuse: Refuse = (keyword, why) => this.scope.refusal(owner(schemas, keyword), keyword, why);
    const values = forms.flatMap((form) => (form.type === "value" ? [this.json(form.value)] : []));
    const wide = forms.filter((form) => form.type !== "value");
    const nodes = wide.map((form, i) => this.node(form, `${name}.${i}.`, refuse));
    return choice(...(values.length ? [oneOfTexts(values)] : []), ...nodes);
  }

  private node(form: Form, name: string, refuse: Refuse): Node {
    if (form.type === "number") return numberNode(form, name, this.define, refuse);
    if (form.type === "string") return this.quoted(form, name, refuse);
    if (form.type === "array") return arrayNode(this, form, name, refuse);
    if (form.type === "object") return objectNode(this, form, name, refuse);
    return text(this.json(form.value));
  }
}

export type Refuse = (keyword: string, why: string) => Error;

/** The first of the schemas, or of those that they consist of, that has the keyword. */
function owner(schemas: readonly Schema[], keyword: string): Schema {
  return schemas.find((schema) => isObject(schema) && schema.has(keyword)) ?? schemas[0] ?? true;
}

/** The nodes in a tree. */
function size(node: Node): number {
  if (node.op === "sequence" || node.op === "choice") return node.items.reduce((sum, item) => sum + size(item), 1);
  return node.op === "repeat" ? 1 + size(node.item) : 1;
}
