// Defines jinja2's filters of many values: lists, dicts and whatever else can be iterated.
import { Group, getter } from "./lookup.js";
import { binary, subscript } from "./operators.js";
import { str } from "./text.js";
import type { Filters } from "./text_filters.js";
import {
  asInteger,
  Dict,
  equal,
  fail,
  Generator,
  iterate,
  length,
  NONE,
  order,
  truth,
  tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.js";

/** Text without regard to case, unless it is asked for. */
const folded = (value: Value, caseSensitive: Value): Value =>
  typeof value === "string" && !truth(caseSensitive) ? value.toLowerCase() : value;
const keyOf = (attribute: Value, caseSensitive: Value): ((value: Value) => Value) => {
  const get = getter(attribute);
  return (value) => folded(get(value), caseSensitive);
};

function extreme(sign: 1 | -1): readonly [string, (value: Value, ...args: (Value | undefined)[]) => Value] {
  return [
    "case_sensitive attribute",
    (value, caseSensitive = false, attribute = NONE) => {
      const key = keyOf(attribute, caseSensitive);
      let best: Value | undefined;
      for (const candidate of iterate(value))
        if (best === undefined || order(key(candidate), key(best)) * sign > 0) best = candidate;
      return best ?? new Undefined("No aggregated item, sequence was empty.");
    },
  ];
}

function sorted(items: readonly Value[], key: (value: Value) => Value, reverse: Value): Value[] {
  const keyed = items.map((value) => [key(value), value] as const);
  const down = asInteger(reverse) !== 0;
  keyed.sort(([a], [b]) => (down ? order(b, a) : order(a, b)));
  return keyed.map(([, value]) => value);
}

function* batches(value: Value, size: number, fill: Value): IterableIterator<Value> {
  let batch: Value[] = [];
  for (const next of iterate(value)) {
    if (batch.length === size) {
      yield batch;
      batch = [];
    }
    batch.push(next);
  }
  if (batch.length > 0)
    yield fill === NONE ? batch : [...batch, ...Array.from({ length: Math.max(0, size - batch.length) }, () => fill)];
}

function* slices(value: Value, count: number, fill: Value): IterableIterator<Value> {
  const items = [...iterate(value)];
  if (count === 0) fail("integer division or modulo by zero");
  const [size, longer] = [Math.floor(items.length / count), items.length % count];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const slice = items.slice(at, at + size + (i < longer ? 1 : 0));
    at += slice.length;
    yield fill !== NONE && i >= longer ? [...slice, fill] : slice;
  }
}

function* unique(value: Value, key: (value: Value) => Value): IterableIterator<Value> {
  const seen = new Dict();
  for (const next of iterate(value)) {
    const id = key(next);
    if (!seen.has(id)) yield next;
    seen.set(id, NONE);
  }
}

/** `value|sort(attribute="a,b")` goes by several. */
function severalKeys(attribute: Value, caseSensitive: Value): (value: Value) => Value {
  if (typeof attribute !== "string") return keyOf(attribute, caseSensitive);
  const keys = attribute.split(",").map((part) => keyOf(part, caseSensitive));
  return keys.length === 1 ? keys[0]! : (value) => keys.map((key) => key(value));
}

const count: readonly [string, (value: Value) => Value] = ["", length];

export const SEQUENCE_FILTERS: Filters = {
  batch: ["linecount fill_with", (value, size, fill = NONE) => new Generator(batches(value, asInteger(size!), fill))],
  count,
  dictsort: [
    "case_sensitive by reverse",
    (value, caseSensitive = false, by = "key", reverse = false) => {
      const at = by === "key" ? 0 : by === "value" ? 1 : fail('you can only sort by either "key" or "value"');
      if (!(value instanceof Dict)) return fail(`'${typeName(value)} object' has no attribute 'items'`);
      return sorted(
        value.items().map((pair) => tuple(...pair)),
        (pair) => folded(subscript(pair, at)!, caseSensitive),
        reverse,
      );
    },
  ],
  first: [
    "",
    (value) => {
      for (const next of iterate(value)) return next;
      return new Undefined("No first item, sequence was empty.");
    },
  ],
  groupby: [
    "attribute default case_sensitive",
    (value, attribute, otherwise = NONE, caseSensitive = false) => {
      const get = getter(attribute!, otherwise);
      const groups: Group[] = [];
      for (const next of sorted([...iterate(value)], (each) => folded(get(each), caseSensitive), false)) {
        const last = groups.at(-1);
        if (last && equal(folded(last[0]!, caseSensitive), folded(get(next), caseSensitive)))
          (last[1] as Value[]).push(next);
        else groups.push(Group.from([get(next), [next]]) as Group);
      }
      return groups;
    },
  ],
  items: [
    "",
    (value) => {
      if (value instanceof Undefined) return new Generator([].values());
      if (!(value instanceof Dict)) return fail("Can only get item pairs from a mapping.");
      return new Generator(
        value
          .items()
          .map((pair) => tuple(...pair))
          .values(),
      );
    },
  ],
  join: [
    "d attribute",
    (value, separator = "", attribute = NONE) => {
      const get = getter(attribute);
      return [...iterate(value)].map((next) => str(get(next))).join(str(separator));
    },
  ],
  last: [
    "",
    (value) => {
      if (value instanceof Generator) fail("'generator' object is not reversible");
      return [...iterate(value)].at(-1) ?? new Undefined("No last item, sequence was empty.");
    },
  ],
  length: count,
  list: ["", (value) => [...iterate(value)]],
  max: extreme(1),
  min: extreme(-1),
  reverse: [
    "",
    (value) => {
      const items = [...iterate(value)].reverse();
      if (typeof value === "string") return items.join("");
      return value instanceof Generator ? items : new Generator(items.values());
    },
  ],
  slice: ["slices fill_with", (value, size, fill = NONE) => new Generator(slices(value, asInteger(size!), fill))],
  sort: [
    "reverse case_sensitive attribute",
    (value, reverse = false, caseSensitive = false, attribute = NONE) =>
      sorted([...iterate(value)], severalKeys(attribute, caseSensitive), reverse),
  ],
  sum: [
    "attribute start",
    (value, attribute = NONE, start = 0) => {
      if (typeof start === "string") fail("sum() can't sum strings");
      const get = getter(attribute);
      let total: Value = start;
      for (const next of iterate(value)) total = binary("+", total, get(next));
      return total;
    },
  ],
  unique: [
    "case_sensitive attribute",
    (value, caseSensitive = false, attribute = NONE) => new Generator(unique(value, keyOf(attribute, caseSensitive))),
  ],
};
