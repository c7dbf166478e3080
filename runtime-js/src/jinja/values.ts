// Represents Python's values. Lists are arrays, integers are numbers, and strings are JavaScript's but are counted in
// code points. Types that JavaScript lacks have a class here.

/** A template that cannot be read or rendered: Python would raise here too. */
export class TemplateError extends Error {}

class None {
  readonly isNone = true;
}
/** None: not null, which `??` takes for what is missing. */
export const NONE = new None();
export class Float {
  constructor(readonly value: number) {}
}
export class Tuple extends Array<Value> {}
/** Its message is what is wrong with using it. */
export class Undefined {
  constructor(readonly message: string) {}
}
/** An object with attributes of its own, such as `loop`; some can be called. */
export abstract class PyObject {
  abstract attribute(name: string): Value | undefined;
  call?(args: readonly Value[], named: Named): Value;
}
/** What filters such as `map` give: it can be gone through once. */
export class Generator {
  constructor(readonly values: Iterator<Value>) {}
}
/** A dict's keys, values or items, or `range(…)`. */
export class View {
  constructor(
    readonly items: readonly Value[],
    readonly kind: "range" | "keys" | "values" | "items",
  ) {}
}
export class Range extends View {
  constructor(
    readonly start: number,
    readonly stop: number,
    readonly step: number,
  ) {
    super(
      Array.from({ length: Math.max(0, Math.ceil((stop - start) / step)) }, (_, i) => start + i * step),
      "range",
    );
  }
}

export type Named = ReadonlyMap<string, Value>;
export type Callable = (args: readonly Value[], named: Named) => Value;
export type Value =
  | None
  | boolean
  | number
  | string
  | Float
  | Undefined
  | Value[]
  | Dict
  | Generator
  | View
  | PyObject
  | Callable;

/** In the order of insertion, with keys that Python holds equal being one: 1, 1.0 and True. */
export class Dict {
  private readonly entries = new Map<string, readonly [Value, Value]>();
  constructor(items: Iterable<readonly [Value, Value]> = []) {
    for (const [key, value] of items) this.set(key, value);
  }
  get(key: Value): Value | undefined {
    return this.entries.get(hash(key))?.[1];
  }
  has(key: Value): boolean {
    return this.entries.has(hash(key));
  }
  set(key: Value, value: Value): void {
    const id = hash(key);
    this.entries.set(id, [this.entries.get(id)?.[0] ?? key, value]);
  }
  get size(): number {
    return this.entries.size;
  }
  items(): (readonly [Value, Value])[] {
    return [...this.entries.values()];
  }
  keys(): Value[] {
    return this.items().map(([key]) => key);
  }
}

export function fail(message: string): never {
  throw new TemplateError(message);
}
export function tuple(...items: readonly Value[]): Tuple {
  return Tuple.from(items) as Tuple;
}

function hash(key: Value): string {
  if (typeof key === "string") return `s${key}`;
  if (key instanceof Tuple) return `(${key.map((item) => JSON.stringify(hash(item))).join()})`;
  const number = asNumber(key);
  if (number !== undefined) return `n${number}`;
  if (key === NONE) return "None";
  return key instanceof Undefined ? "Undefined" : fail(`unhashable type: '${typeName(key)}'`);
}

/** Converts JSON, and functions, which get plain arguments. Throws TemplateError for anything else. */
export function fromJs(value: unknown): Value {
  if (value === null) return NONE;
  if (typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number") return Number.isInteger(value) ? value : new Float(value);
  if (Array.isArray(value)) return value.map((item) => (item === undefined ? NONE : fromJs(item)));
  if (typeof value === "object") {
    return new Dict(
      Object.entries(value)
        .filter(([, item]) => item !== undefined)
        .map(([key, item]) => [key, fromJs(item)] as const),
    );
  }
  return fail(`a ${typeof value} cannot be given to a template`);
}

export function typeName(value: Value): string {
  if (value === NONE) return "NoneType";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number") return "int";
  if (typeof value === "string") return "str";
  if (typeof value === "function") return "function";
  if (value instanceof Float) return "float";
  if (value instanceof Tuple) return "tuple";
  if (Array.isArray(value)) return "list";
  if (value instanceof Dict) return "dict";
  if (value instanceof Undefined) return "Undefined";
  if (value instanceof View) return value.kind === "range" ? "range" : `dict_${value.kind}`;
  return value instanceof Generator ? "generator" : "object";
}

/** An int's, a float's or a bool's; undefined for what is none. */
export function asNumber(value: Value): number | undefined {
  if (typeof value === "number") return value;
  if (typeof value === "boolean") return Number(value);
  return value instanceof Float ? value.value : undefined;
}

/** Of what Python takes for an index or a count. Throws TemplateError for others. */
export function asInteger(value: Value): number {
  if (typeof value === "number" || typeof value === "boolean") return Number(value);
  return fail(`'${typeName(value)}' object cannot be interpreted as an integer`);
}

export function asString(value: Value, what = "the value"): string {
  return typeof value === "string" ? value : fail(`${what} must be str, not ${typeName(value)}`);
}

export function integer(value: number): number {
  return Number.isSafeInteger(value) ? value : fail("a number in the template is too large");
}

export function truth(value: Value): boolean {
  if (value === NONE || value instanceof Undefined) return false;
  if (typeof value === "string" || Array.isArray(value)) return value.length > 0;
  if (value instanceof Dict) return value.size > 0;
  if (value instanceof View) return value.items.length > 0;
  return asNumber(value) !== 0;
}

export function* iterate(value: Value): IterableIterator<Value> {
  if (typeof value === "string" || Array.isArray(value)) yield* value;
  else if (value instanceof Dict) yield* value.keys();
  else if (value instanceof View) yield* value.items;
  else if (value instanceof Generator)
    for (let step = value.values.next(); !step.done; step = value.values.next()) yield step.value;
  else if (!(value instanceof Undefined)) fail(`'${typeName(value)}' object is not iterable`);
}

export function length(value: Value): number {
  if (typeof value === "string") return [...value].length;
  if (Array.isArray(value)) return value.length;
  if (value instanceof Dict) return value.size;
  if (value instanceof View) return value.items.length;
  return value instanceof Undefined ? 0 : fail(`object of type '${typeName(value)}' has no len()`);
}

export function equal(a: Value, b: Value): boolean {
  if (a === b) return true;
  const [x, y] = [asNumber(a), asNumber(b)];
  if (x !== undefined || y !== undefined) return x === y;
  if (Array.isArray(a) && Array.isArray(b)) {
    return (
      a instanceof Tuple === b instanceof Tuple && a.length === b.length && a.every((item, i) => equal(item, b[i]!))
    );
  }
  if (a instanceof Dict && b instanceof Dict) {
    return a.size === b.size && a.items().every(([key, value]) => b.has(key) && equal(value, b.get(key)!));
  }
  if (a instanceof View && b instanceof View && a.kind === b.kind && a.kind !== "values") {
    return (
      a.items.length === b.items.length &&
      a.items.every((item, i) =>
        a.kind === "range" ? equal(item, b.items[i]!) : b.items.some((other) => equal(item, other)),
      )
    );
  }
  return a instanceof Undefined && b instanceof Undefined;
}

/** Below 0 where `a` is before `b`, NaN where one is no number. Throws TemplateError for what Python cannot order. */
export function order(a: Value, b: Value, operator = "<"): number {
  if (typeof a === "string" && typeof b === "string") return orderText(a, b);
  if (Array.isArray(a) && Array.isArray(b) && a instanceof Tuple === b instanceof Tuple) {
    const at = a.findIndex((item, i) => i >= b.length || !equal(item, b[i]!));
    return at < 0 ? a.length - b.length : at >= b.length ? 1 : order(a[at]!, b[at]!, operator);
  }
  const [x, y] = [asNumber(a), asNumber(b)];
  if (x === undefined || y === undefined)
    return fail(`'${operator}' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`);
  return x === y ? 0 : x - y;
}

/** By code points, where JavaScript goes by halves of them. */
function orderText(a: string, b: string): number {
  const [x, y] = [[...a], [...b]];
  const at = x.findIndex((character, i) => character !== y[i]);
  if (at < 0) return x.length - y.length;
  return at >= y.length ? 1 : x[at]!.codePointAt(0)! - y[at]!.codePointAt(0)!;
}

/** Arguments by the names of a Python signature; undefined for those not given. Throws TemplateError for others. */
export function bind(
  what: string,
  names: readonly string[],
  args: readonly Value[],
  named: Named,
): (Value | undefined)[] {
  if (args.length > names.length) fail(`${what} takes at most ${names.length} arguments, not ${args.length}`);
  const bound: (Value | undefined)[] = names.map((_, i) => args[i]);
  for (const [name, value] of named) {
    const at = names.indexOf(name);
    if (at < 0) fail(`${what} has no argument ${name}`);
    if (at < args.length) fail(`${what} got the argument ${name} twice`);
    bound[at] = value;
  }
  return bound;
}
