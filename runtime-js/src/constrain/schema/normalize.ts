// Works out the forms of schemas: references, combinations and conditions resolved, so that only forms are left.
import { InvalidRequestError } from "../../errors.js";
import { ANY_OBJECT, ANYTHING, type Form, meet, type ObjectForm, valueForm } from "./forms.js";
import { Keywords } from "./keywords.js";
import { Logic } from "./logic.js";
import { isObject, isSchema, type JsonObject, type Schema } from "./read.js";
import type { Scope } from "./scope.js";

/** Steps that the combination of schemas may take. */
const STEPS = 500_000;
/** References that lead to one another before any part of a value. */
const CHAIN = 500;

export class Normalizer {
  readonly logic = new Logic(this);
  private readonly numbers = new Map<JsonObject, number>();
  private readonly known = new Map<string, readonly Form[]>();
  private readonly open = new Set<JsonObject>();
  private left = STEPS;

  constructor(readonly scope: Scope) {}

  get exhausted(): boolean {
    return this.left < 0;
  }

  spend(steps = 1): void {
    this.left -= steps;
    if (this.left < 0) throw new InvalidRequestError(this.scope.path(true), "combines its schemas in too many ways.");
  }

  /** The same for the same schemas, in whatever order and however often. */
  key(schemas: readonly Schema[]): string {
    if (schemas.includes(false)) return "false";
    const numbers = new Set<number>();
    for (const schema of schemas) {
      if (!isObject(schema)) continue;
      if (!this.numbers.has(schema)) this.numbers.set(schema, this.numbers.size);
      numbers.add(this.numbers.get(schema)!);
    }
    return [...numbers].sort((a, b) => a - b).join();
  }

  /** The forms of what is valid against all of these. */
  forms(schemas: readonly Schema[]): readonly Form[] {
    if (schemas.includes(false)) return [];
    const key = this.key(schemas);
    let forms = this.known.get(key);
    if (!forms) {
      const distinct = [...new Set(schemas.filter(isObject))];
      forms =
        distinct.length === 1
          ? this.one(distinct[0]!)
          : distinct.reduce<readonly Form[]>((all, schema) => this.meet(all, this.forms([schema])), ANYTHING);
      this.known.set(key, forms);
    }
    return forms;
  }

  /** What is of a form of both lists. */
  meet(a: readonly Form[], b: readonly Form[]): readonly Form[] {
    if (a === ANYTHING || a === b) return b;
    if (b === ANYTHING) return a;
    const found = new Map<string, Form>();
    const wide: Form[] = [];
    const wideB = b.filter((form) => form.type !== "value");
    const valuesB = new Map(b.map((form) => [form.type === "value" ? form.id : "", form]));
    for (const form of a) {
      if (form.type !== "value") {
        for (const other of wideB) {
          this.spend(5);
          wide.push(...meet(form, other));
        }
        for (const [id, other] of valuesB)
          if (other.type === "value" && this.logic.admits(form, other.value)) found.set(id, other);
      } else if (valuesB.has(form.id) || wideB.some((other) => this.logic.admits(other, form.value)))
        found.set(form.id, form);
    }
    return [...found.values(), ...wide];
  }

  private one(schema: JsonObject): readonly Form[] {
    if (this.open.has(schema)) {
      const keyword = ["$ref", "allOf", "anyOf", "oneOf", "not", "if"].find((name) => schema.has(name)) ?? "$ref";
      throw this.scope.refusal(schema, keyword, "leads back to itself before any part of a value.");
    }
    if (this.open.size > CHAIN) throw this.scope.refusal(schema, "$ref", "is at the end of too many references.");
    this.spend(5);
    this.open.add(schema);
    try {
      return this.resolved(schema);
    } finally {
      this.open.delete(schema);
    }
  }

  private resolved(schema: JsonObject): readonly Form[] {
    const { scope, logic } = this;
    if (scope.refAlone && schema.has("$ref")) return this.forms([scope.target(schema)]);
    const keywords = new Keywords(scope, schema);
    let forms: readonly Form[] = keywords.forms();
    const values = keywords.values();
    if (values) {
      const unique = new Map(values.map(valueForm).map((form) => [form.id, form]));
      forms = [...unique.values()].filter(({ value }) => forms.some((form) => logic.admits(form, value)));
    }
    const narrow = (...schemas: Schema[]) => {
      for (const other of schemas) forms = this.meet(forms, this.forms([other]));
    };
    if (schema.has("$ref")) narrow(scope.target(schema));
    narrow(...keywords.list("allOf"));
    for (const either of this.dependencies(keywords)) forms = this.meet(forms, either);
    if (schema.has("anyOf")) forms = this.union(keywords.list("anyOf").map((s) => this.meet(forms, this.forms([s]))));
    if (schema.has("oneOf")) {
      const branches = keywords.list("oneOf").map((branch) => this.forms([branch]));
      forms = logic.exactlyOne(forms, branches, (why) => keywords.fail("oneOf", why));
    }
    if (schema.has("if") && (schema.has("then") || schema.has("else"))) {
      const branch = (name: string) => this.forms([(schema.get(name) as Schema | undefined) ?? true]);
      const condition = branch("if");
      const otherwise = logic.minus(forms, condition, (why) => keywords.fail("if", why));
      const then = this.meet(this.meet(forms, condition), branch("then"));
      forms = this.union([then, this.meet(otherwise, branch("else"))]);
    }
    const not = schema.get("not");
    if (isSchema(not)) forms = logic.minus(forms, this.forms([not]), (why) => keywords.fail("not", why));
    return forms;
  }

  private union(lists: readonly (readonly Form[])[]): readonly Form[] {
    const values = new Map<string, Form>();
    const wide = new Set<Form>();
    for (const form of lists.flat()) {
      this.spend();
      if (form.type === "value") values.set(form.id, form);
      else wide.add(form);
    }
    return [...values.values(), ...wide];
  }

  /** For each dependency: the forms without the property, and those with it and what it asks for. */
  private *dependencies(keywords: Keywords): Generator<Form[]> {
    const others = ANYTHING.filter(({ type }) => type !== "object");
    for (const keyword of ["dependentRequired", "dependentSchemas", "dependencies"])
      for (const [name, needed] of keywords.map(keyword)) {
        const isList = keyword === "dependentRequired" || Array.isArray(needed);
        const required = [name, ...(isList ? keywords.names(keyword, needed as never) : [])];
        const present: ObjectForm = { ...ANY_OBJECT, required };
        const withIt = isList ? [present] : this.meet([present], this.forms([needed]));
        yield [...others, this.logic.lacking(name), ...withIt];
      }
  }
}
