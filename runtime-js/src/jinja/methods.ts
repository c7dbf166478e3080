// Defines the methods of strings, lists and dicts, except those that change them, which the sandbox forbids.
import { braceFormat } from "./format.js";
import { type Method, place, plain } from "./method.js";
import { subscript } from "./operators.js";
import { STRING } from "./string_methods.js";
import { repr } from "./text.js";
import {
  type Callable,
  Dict,
  equal,
  fail,
  NONE,
  Tuple,
  tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from "./values.js";

/** Attributes of Python's that are read in full by name, so that `d.items` is not d["items"]. */
const CHANGING: Readonly<Record<string, readonly string[]>> = {
  list: ["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"],
  dict: ["clear", "pop", "popitem", "setdefault", "update"],
};

/** `value.name` for what has attributes of Python's; undefined where there is none. */
export function method(value: Value, name: string): Value | undefined {
  const type = typeName(value);
  if (CHANGING[type]?.includes(name))
    return new Undefined(`access to attribute '${name}' of '${type}' object is unsafe.`);
  if (typeof value === "string") return bound(TEXT, value, name);
  if (value instanceof Dict) return bound(DICT, value, name);
  return Array.isArray(value) ? bound(LIST, value, name) : undefined;
}

function bound<T>(methods: Readonly<Record<string, Method<T>>>, self: T, name: string): Callable | undefined {
  const found = Object.hasOwn(methods, name) ? methods[name] : undefined;
  return found && ((args, named) => found(self, args, named));
}

const TEXT: Readonly<Record<string, Method<string>>> = {
  ...STRING,
  format: (self, args, named) =>
    braceFormat(self, args, named, (value, name, attribute) => {
      const key = /^\d+$/.test(name) ? Number(name) : name;
      const next = attribute ? member(value, name) : subscript(value, key);
      return next ?? fail(`the format field ${repr(name)} is not there`);
    }),
};

const DICT: Readonly<Record<string, Method<Dict>>> = {
  get: plain("get", 1, 2, (self, key, other = NONE) => self.get(key!) ?? other),
  items: plain(
    "items",
    0,
    0,
    (self) =>
      new View(
        self.items().map((pair) => tuple(...pair)),
        "items",
      ),
  ),
  keys: plain("keys", 0, 0, (self) => new View(self.keys(), "keys")),
  values: plain(
    "values",
    0,
    0,
    (self) =>
      new View(
        self.items().map(([, value]) => value),
        "values",
      ),
  ),
  copy: plain("copy", 0, 0, (self) => new Dict(self.items())),
};

const LIST: Readonly<Record<string, Method<Value[]>>> = {
  count: plain("count", 1, 1, (self, value) => self.filter((item) => equal(item, value!)).length),
  index: plain("index", 1, 3, (self, value, start = 0, stop = self.length) => {
    const [from, to] = [place(self, start), place(self, stop)];
    const at = self.findIndex((item, i) => i >= from && i < to && equal(item, value!));
    return at < 0 ? fail(`${repr(value!)} is not in list`) : at;
  }),
  copy: plain("copy", 0, 0, (self) =>
    self instanceof Tuple ? fail("'tuple' object has no attribute 'copy'") : [...self],
  ),
};

/** jinja2's `value.name`: an attribute of Python's, else an item. */
export function member(value: Value, name: string): Value | undefined {
  return method(value, name) ?? subscript(value, name);
}
