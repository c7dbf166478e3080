// Defines jinja2's tests: `value is name`.
import { method } from "./methods.js";
import { binary, compare, contains } from "./operators.js";
import { str } from "./text.js";
import {
  asNumber,
  bind,
  Dict,
  Float,
  fail,
  Generator,
  type Named,
  NONE,
  PyObject,
  Range,
  Tuple,
  truth,
  Undefined,
  type Value,
  View,
} from "./values.js";

type Test = (value: Value, ...args: Value[]) => boolean;

const isDivisible: Test = (value, by) => asNumber(binary("%", value, by!)) === 0;
const ordered =
  (operator: string): Test =>
  (value, other) =>
    compare(operator, value, other!);
const is =
  (name: "islower" | "isupper"): Test =>
  (value) =>
    truth((method(str(value), name) as (args: readonly Value[], named: Named) => Value)([], new Map()));
const [eq, ne, lt, le, gt, ge] = ["==", "!=", "<", "<=", ">", ">="].map(ordered) as [
  Test,
  Test,
  Test,
  Test,
  Test,
  Test,
];
const isInteger: Test = (value) => typeof value === "number";

const TESTS: Readonly<Record<string, Test>> = {
  defined: (value) => !(value instanceof Undefined),
  undefined: (value) => value instanceof Undefined,
  none: (value) => value === NONE,
  boolean: (value) => typeof value === "boolean",
  true: (value) => value === true,
  false: (value) => value === false,
  integer: isInteger,
  float: (value) => value instanceof Float,
  number: (value) => asNumber(value) !== undefined,
  string: (value) => typeof value === "string",
  mapping: (value) => value instanceof Dict,
  sequence: (value) =>
    typeof value === "string" ||
    Array.isArray(value) ||
    value instanceof Dict ||
    value instanceof Undefined ||
    value instanceof Range,
  iterable: (value) =>
    typeof value === "string" ||
    Array.isArray(value) ||
    value instanceof Dict ||
    value instanceof Undefined ||
    value instanceof View ||
    value instanceof Generator,
  callable: (value) =>
    typeof value === "function" ||
    value instanceof Undefined ||
    (value instanceof PyObject && value.call !== undefined),
  sameas: (value, other) =>
    value === other ||
    (value instanceof Float && other instanceof Float && value.value === other.value) ||
    emptyTuples(value, other!),
  in: (value, container) => contains(container!, value),
  divisibleby: isDivisible,
  even: (value) => isDivisible(value, 2),
  odd: (value) => asNumber(binary("%", value, 2)) === 1,
  lower: is("islower"),
  upper: is("isupper"),
  eq,
  equalto: eq,
  "==": eq,
  ne,
  "!=": ne,
  lt,
  lessthan: lt,
  "<": lt,
  le,
  "<=": le,
  gt,
  greaterthan: gt,
  ">": gt,
  ge,
  ">=": ge,
};
const TAKES: Readonly<Record<string, number>> = {
  sameas: 1,
  in: 1,
  divisibleby: 1,
  eq: 1,
  equalto: 1,
  "==": 1,
  ne: 1,
  "!=": 1,
  lt: 1,
  lessthan: 1,
  "<": 1,
  le: 1,
  "<=": 1,
  gt: 1,
  greaterthan: 1,
  ">": 1,
  ge: 1,
  ">=": 1,
};

/** Python has one of them. */
function emptyTuples(a: Value, b: Value): boolean {
  return a instanceof Tuple && b instanceof Tuple && a.length + b.length === 0;
}

/** Throws TemplateError for a test that is not known. */
export function applyTest(name: string, value: Value, args: readonly Value[], named: Named): boolean {
  const test = Object.hasOwn(TESTS, name) ? TESTS[name]! : fail(`there is no test '${name}'`);
  const given = bind(`the test ${name}`, TAKES[name] ? ["other"] : [], args, named);
  if (given.includes(undefined)) fail(`the test ${name} takes an argument`);
  return test(value, ...(given as Value[]));
}
