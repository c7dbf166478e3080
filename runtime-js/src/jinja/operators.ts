// Defines Python's operators, subscripts and comparisons.
import { percentFormat } from "./format.js";
import {
  asInteger,
  asNumber,
  Dict,
  equal,
  Float,
  fail,
  integer,
  iterate,
  NONE,
  order,
  Range,
  Tuple,
  tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.js";

export function binary(operator: string, left: Value, right: Value): Value {
  use(left);
  use(right);
  const [a, b] = [asNumber(left), asNumber(right)];
  if (a !== undefined && b !== undefined)
    return arithmetic(operator, a, b, left instanceof Float || right instanceof Float);
  if (operator === "%" && typeof left === "string") return percentFormat(left, right);
  if (operator === "+") {
    if (typeof left === "string" && typeof right === "string") return left + right;
    if (Array.isArray(left) && Array.isArray(right) && left instanceof Tuple === right instanceof Tuple) {
      return left instanceof Tuple ? tuple(...left, ...right) : [...left, ...right];
    }
  }
  if (operator === "*") {
    const [sequence, count] = b === undefined ? [right, left] : [left, right];
    if (typeof sequence === "string") return sequence.repeat(Math.max(0, asInteger(count)));
    if (Array.isArray(sequence)) {
      const items = Array.from({ length: Math.max(0, asInteger(count)) }, () => [...sequence]).flat() as Value[];
      return sequence instanceof Tuple ? tuple(...items) : items;
    }
  }
  return fail(`unsupported operand type(s) for ${operator}: '${typeName(left)}' and '${typeName(right)}'`);
}

function arithmetic(operator: string, a: number, b: number, float: boolean): Value {
  const result = (value: number): Value => (float ? new Float(value) : integer(value));
  const divisor = (): number => (b === 0 ? fail("division by zero") : b);
  switch (operator) {
    case "+":
      return result(a + b);
    case "-":
      return result(a - b);
    case "*":
      return result(a * b);
    case "/":
      return new Float(a / divisor());
    case "//":
      return result(Math.floor((a - modulo(a, divisor())) / b + 0.5));
    case "%":
      return result(modulo(a, divisor()));
    default:
      return power(a, b, float);
  }
}

/** With the sign of the divisor. */
function modulo(a: number, b: number): number {
  const rest = a % b;
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
}

function power(a: number, b: number, float: boolean): Value {
  // JavaScript's own is not exact to the last digit.
  if (!float && b >= 0) return integer(Math.abs(a) < 2 || b > 64 ? a ** b : Number(BigInt(a) ** BigInt(b)));
  if (a === 0 && b < 0) fail("0.0 cannot be raised to a negative power");
  if (a < 0 && !Number.isInteger(b)) fail("the template makes a complex number");
  return new Float(a ** b);
}

export function negative(value: Value, sign: "-" | "+"): Value {
  use(value);
  const number = asNumber(value);
  if (number === undefined) return fail(`bad operand type for unary ${sign}: '${typeName(value)}'`);
  const signed = sign === "-" ? -number : number;
  return value instanceof Float ? new Float(signed) : signed + 0;
}

export function compare(operator: string, left: Value, right: Value): boolean {
  switch (operator) {
    case "==":
      return equal(left, right);
    case "!=":
      return !equal(left, right);
    case "in":
      return contains(right, left);
    case "not in":
      return !contains(right, left);
  }
  use(left);
  use(right);
  const difference = order(left, right, operator);
  return operator === "<"
    ? difference < 0
    : operator === ">"
      ? difference > 0
      : operator === "<="
        ? difference <= 0
        : difference >= 0;
}

export function contains(container: Value, value: Value): boolean {
  if (typeof container === "string") {
    return typeof value === "string"
      ? container.includes(value)
      : fail(`'in <string>' requires string as left operand, not ${typeName(value)}`);
  }
  if (container instanceof Dict) return container.has(value);
  if (container === NONE || asNumber(container) !== undefined)
    return fail(`argument of type '${typeName(container)}' is not iterable`);
  for (const item of iterate(container)) if (equal(item, value)) return true;
  return false;
}

/** `object[key]` where it is there. */
export function subscript(object: Value, key: Value): Value | undefined {
  if (object instanceof Dict)
    return key === NONE || typeof key !== "object" || key instanceof Float || key instanceof Tuple
      ? object.get(key)
      : undefined;
  if (typeof key !== "number" && typeof key !== "boolean") return undefined;
  const items = indexable(object);
  const at = Number(key);
  return items?.[at < 0 ? items.length + at : at];
}

function indexable(object: Value): readonly Value[] | undefined {
  if (typeof object === "string") return [...object];
  if (Array.isArray(object)) return object;
  return object instanceof Range ? object.items : undefined;
}

/** `object[start:stop:step]`. */
export function slice(object: Value, parts: readonly Value[]): Value {
  use(object);
  const items = indexable(object);
  if (!items) return fail(`'${typeName(object)}' object cannot be sliced`);
  const [start, stop, step] = parts.map((part) => (part === NONE ? undefined : asInteger(part)));
  const places = placesOf(items.length, start, stop, step ?? 1);
  if (object instanceof Range)
    return new Range(
      object.start + places.start * object.step,
      object.start + places.stop * object.step,
      object.step * places.step,
    );
  const chosen = places.items.map((at) => items[at as number]!);
  if (typeof object === "string") return chosen.join("");
  return object instanceof Tuple ? tuple(...chosen) : chosen;
}

/** The places that a slice takes of so many. */
function placesOf(length: number, start: number | undefined, stop: number | undefined, step: number): Range {
  if (step === 0) fail("slice step cannot be zero");
  const [low, high] = step > 0 ? [0, length] : [-1, length - 1];
  const place = (at: number): number => Math.min(high, Math.max(low, at < 0 ? at + length : at));
  return new Range(
    start === undefined ? (step > 0 ? low : high) : place(start),
    stop === undefined ? (step > 0 ? high : low) : place(stop),
    step,
  );
}

/** Throws TemplateError where the value is undefined. */
export function use(value: Value): void {
  if (value instanceof Undefined) fail(value.message);
}
