// Decides about forms: whether a value is of one, whether two share a value, and what is left of one without another.
import { InvalidRequestError } from "../../errors.js";
import { isMultiple } from "./decimals.js";
import {
  ANY_OBJECT,
  type Form,
  itemSchemas,
  meet,
  type ObjectForm,
  propertySchemas,
  type StringForm,
  typeOf,
} from "./forms.js";
import { Languages } from "./languages.js";
import type { Normalizer } from "./normalize.js";
import { identity, type Json, type JsonObject, type Schema } from "./read.js";

type Refuse = (why: string) => Error;

export class Logic {
  readonly languages = new Languages();
  private readonly comparing = new Set<string>();
  private readonly without = new Map<string, ObjectForm>();

  constructor(private readonly normalizer: Normalizer) {}

  readonly matches = (pattern: string, name: string): boolean => this.languages.matches(pattern, name);

  /** Objects that have no such property. */
  lacking(name: string): ObjectForm {
    let form = this.without.get(name);
    if (!form) {
      const part = { properties: new Map([[name, false]]), patterns: new Map(), rest: true, explicit: false };
      form = { ...ANY_OBJECT, parts: [part] };
      this.without.set(name, form);
    }
    return form;
  }

  valid(schemas: readonly Schema[], value: Json): boolean {
    const id = identity(value);
    this.normalizer.spend();
    return this.normalizer
      .forms(schemas)
      .some((form) => (form.type === "value" ? form.id === id : this.admits(form, value)));
  }

  /** Whether the value is of the form. */
  admits(form: Form, value: Json): boolean {
    this.normalizer.spend();
    if (form.type === "value") return form.id === identity(value);
    if (form.type !== typeOf(value)) return false;
    if (form.type === "number") {
      const { integer, low, lowOpen, high, highOpen, divisors } = form;
      const number = value as number;
      if (integer && !Number.isInteger(number)) return false;
      if (number < low || number > high || (lowOpen && number === low) || (highOpen && number === high)) return false;
      return divisors.every((divisor) => isMultiple(number, divisor));
    }
    if (form.type === "string") return this.languages.admits(form, value as string);
    if (form.type === "array") {
      const items = value as readonly Json[];
      if (items.length < form.min || items.length > form.max) return false;
      if (form.unique && new Set(items.map(identity)).size < items.length) return false;
      for (const { schema, min } of form.contains)
        if (items.filter((item) => this.valid([schema], item)).length < min) return false;
      return items.every((item, i) => this.valid(itemSchemas(form, i), item));
    }
    const object = value as JsonObject;
    if (object.size < form.min || object.size > form.max || !form.required.every((name) => object.has(name)))
      return false;
    return [...object].every(
      ([name, item]) => this.valid(form.names, name) && this.valid(propertySchemas(form, name, this.matches), item),
    );
  }

  /** Whether it is certain that no value is of both. */
  disjoint(a: Form, b: Form): boolean {
    this.normalizer.spend(10);
    if (a.type === "value") return this.excludes(b, a.value);
    if (b.type === "value") return this.excludes(a, b.value);
    const [shared] = meet(a, b);
    if (!shared) return true;
    if (shared.type === "number") return shared.integer && !integersWithin(shared);
    if (shared.type === "array") {
      for (let i = 0; i < Math.min(shared.min, 100); i++)
        if (this.apart(itemSchemas(a as typeof shared, i), itemSchemas(b as typeof shared, i))) return true;
      return false;
    }
    if (shared.type !== "object") return false;
    return shared.required.some((name) =>
      this.apart(
        propertySchemas(a as typeof shared, name, this.matches),
        propertySchemas(b as typeof shared, name, this.matches),
      ),
    );
  }

  /** Whether it is certain that the value is not of the form. */
  private excludes(form: Form, value: Json): boolean {
    this.languages.doubted = false;
    return !this.admits(form, value) && !this.languages.doubted;
  }

  private apart(a: readonly Schema[], b: readonly Schema[]): boolean {
    const key = `${this.normalizer.key(a)}|${this.normalizer.key(b)}`;
    if (this.comparing.has(key) || this.comparing.size > 50) return false;
    this.comparing.add(key);
    try {
      const others = this.normalizer.forms(b);
      return this.normalizer.forms(a).every((form) => others.every((other) => this.disjoint(form, other)));
    } catch (error) {
      if (!(error instanceof InvalidRequestError) || this.normalizer.exhausted) throw error;
      return false; // It leads back to here, or is refused where it stands.
    } finally {
      this.comparing.delete(key);
    }
  }

  /** What is of `from` and of exactly one of the branches. */
  exactlyOne(from: readonly Form[], branches: readonly (readonly Form[])[], refuse: Refuse): Form[] {
    const holders = new Map<string, number>();
    for (const branch of branches)
      for (const form of branch) if (form.type === "value") holders.set(form.id, (holders.get(form.id) ?? 0) + 1);
    const all = branches.flatMap((branch, i) => branch.map((form) => ({ form, i })));
    const wide = all.filter(({ form }) => form.type !== "value");
    return branches.flatMap((branch, i) => {
      const own = new Set(branch.map((form) => (form.type === "value" ? form.id : "")));
      const foreign = (id: string) => (holders.get(id) ?? 0) > (own.has(id) ? 1 : 0);
      const single = this.normalizer.meet(from, branch).filter((form) => form.type !== "value" || !foreign(form.id));
      const others = single.some(({ type }) => type !== "value") ? all : wide;
      this.normalizer.spend(others.length);
      return this.minus(
        single,
        others.filter((other) => other.i !== i).map(({ form }) => form),
        refuse,
      );
    });
  }

  /** What is of one of `from` and of none of `gone`. */
  minus(from: readonly Form[], gone: readonly Form[], refuse: Refuse): Form[] {
    const values = new Set<string>();
    for (const form of gone) if (form.type === "value") values.add(form.id);
    let left = from.filter((form) => form.type !== "value" || !values.has(form.id));
    for (const form of gone) {
      if (form.type === "value" && left.every(({ type }) => type === "value")) continue;
      left = left.flatMap((other) => this.less(other, form, refuse));
    }
    return left;
  }

  private less(form: Form, gone: Form, refuse: Refuse): readonly Form[] {
    if (this.disjoint(form, gone)) return [form];
    if (form.type === "value") {
      if (!this.admits(gone, form.value)) throw refuse("would have to leave out strings by their format.");
      return [];
    }
    if (gone.type === "value") {
      if (form.type === "string") return [{ ...form, except: [...form.except, gone.value as string] }];
      if (form.type !== "number") throw refuse(`would have to leave out single values of the type ${form.type}.`);
      const bound = gone.value as number;
      return [
        ...meet(form, { ...form, high: bound, highOpen: true }),
        ...meet(form, { ...form, low: bound, lowOpen: true }),
      ];
    }
    const rest = this.complement(gone, form.type === "number" && form.integer, refuse);
    this.normalizer.spend(10 * rest.length);
    return rest.flatMap((other) => meet(form, other));
  }

  /** All values of the form's type that are not of it. */
  private complement(form: Form, integers: boolean, refuse: Refuse): Form[] {
    const parts: Form[] = [];
    if (form.type === "number") {
      const { low, lowOpen, high, highOpen, integer, divisors } = form;
      const whole = { ...form, integer: false, low: -Infinity, lowOpen: false, high: Infinity, highOpen: false };
      if (divisors.length || (integer && !integers)) throw refuse("would have to leave out integers or multiples.");
      if (low > -Infinity) parts.push({ ...whole, high: low, highOpen: !lowOpen });
      if (high < Infinity) parts.push({ ...whole, low: high, lowOpen: !highOpen });
      return parts;
    }
    if (form.type === "value") return parts;
    const any = { ...form, min: 0, max: Infinity };
    if (form.type === "string") return this.otherStrings(form, refuse);
    if (form.type === "array") {
      if (form.parts.length || form.unique || form.contains.length)
        throw refuse("would have to leave out arrays by their items.");
    } else {
      const { parts: members, names, required } = form;
      if (names.length || members.some(({ patterns, rest }) => patterns.size || rest !== true))
        throw refuse("would have to leave out objects by properties that it does not name.");
      for (const name of required) parts.push(this.lacking(name));
      for (const { properties } of members)
        for (const [name, schema] of properties) parts.push(this.with(name, this.normalizer.scope.negation(schema)));
    }
    const plain = form.type === "array" ? { ...any, parts: [] } : { ...ANY_OBJECT };
    if (form.min > 0) parts.push({ ...plain, max: form.min - 1 } as Form);
    if (form.max < Infinity) parts.push({ ...plain, min: form.max + 1 } as Form);
    return parts;
  }

  private with(name: string, schema: Schema): ObjectForm {
    const part = { properties: new Map([[name, schema]]), patterns: new Map(), rest: true, explicit: false };
    return { ...ANY_OBJECT, parts: [part], required: [name] };
  }

  private otherStrings(form: StringForm, refuse: Refuse): Form[] {
    const any: StringForm = { ...form, min: 0, max: Infinity, patterns: [], unlike: [], except: [] };
    if (form.formats.length) throw refuse("would have to leave out strings by their format.");
    const parts: Form[] = [
      ...form.patterns.map((pattern) => ({ ...any, unlike: [pattern] })),
      ...form.unlike.map((pattern) => ({ ...any, patterns: [pattern] })),
      ...form.except.map((value) => ({ type: "value", value, id: identity(value) }) as const),
    ];
    if (form.min > 0) parts.push({ ...any, max: form.min - 1 });
    if (form.max < Infinity) parts.push({ ...any, min: form.max + 1 });
    return parts;
  }
}

/** Whether an integer lies within the bounds. */
function integersWithin(form: { low: number; lowOpen: boolean; high: number; highOpen: boolean }): boolean {
  const low = form.lowOpen && Number.isInteger(form.low) ? form.low + 1 : Math.ceil(form.low);
  const high = form.highOpen && Number.isInteger(form.high) ? form.high - 1 : Math.floor(form.high);
  return low <= high;
}
