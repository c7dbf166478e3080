// Looks up jinja2's `value.name` and `value[key]`: both look where Python's attributes are and where its items are.
import { method } from "./methods.js";
import { subscript, use } from "./operators.js";
import { fail, NONE, PyObject, Tuple, typeName, Undefined, type Value } from "./values.js";

/** A pair that `groupby` gives: `group.grouper` and `group.list`. */
export class Group extends Tuple {}

export function attribute(value: Value, name: string): Value {
  if (value instanceof Undefined && name.startsWith("__")) return missing(value, name);
  use(value);
  return own(value, name) ?? subscript(value, name) ?? missing(value, name);
}

export function item(value: Value, key: Value): Value {
  use(value);
  return (
    subscript(value, key) ?? (typeof key === "string" ? own(value, key) : undefined) ?? missing(value, String(key))
  );
}

/** Only what is an attribute in Python. */
export function own(value: Value, name: string): Value | undefined {
  if (typeof value === "function") return fail(`a function's .${name} is not supported`);
  if (value instanceof PyObject) return name.startsWith("__") ? undefined : value.attribute(name);
  if (value instanceof Group && (name === "grouper" || name === "list")) return value[name === "grouper" ? 0 : 1];
  return method(value, name);
}

function missing(value: Value, name: string): Undefined {
  return new Undefined(`'${value === NONE ? "None" : `${typeName(value)} object`}' has no attribute '${name}'`);
}

/** Reads `a.b.0`, as filters with an `attribute` do; None reads the value itself. */
export function getter(path: Value, otherwise: Value = NONE): (value: Value) => Value {
  if (path === NONE) return (value) => value;
  const parts =
    typeof path === "string" ? path.split(".").map((part) => (/^\d+$/.test(part) ? Number(part) : part)) : [path];
  return (value) =>
    parts.reduce<Value>((at, part) => {
      const next = item(at, part);
      return next instanceof Undefined && otherwise !== NONE ? otherwise : next;
    }, value);
}
