// Lists jinja2's filters by name, and defines those that apply other filters and tests to each of many values.
import { getter } from "./lookup.js";
import { SEQUENCE_FILTERS } from "./sequence_filters.js";
import { applyTest } from "./tests.js";
import { type Filters, formatFilter, TEXT_FILTERS } from "./text_filters.js";
import { bind, fail, Generator, iterate, type Named, NONE, truth, type Value } from "./values.js";

const FILTERS: Filters = { ...TEXT_FILTERS, ...SEQUENCE_FILTERS };

type Picker = (value: Value, args: readonly Value[], named: Named) => Value;
const PICKERS: Readonly<Record<string, Picker>> = {
  format: formatFilter,
  map: (value, args, named) => new Generator(map(value, args, named)),
  select: (value, args, named) => new Generator(pick(value, args, named, true, false)),
  reject: (value, args, named) => new Generator(pick(value, args, named, false, false)),
  selectattr: (value, args, named) => new Generator(pick(value, args, named, true, true)),
  rejectattr: (value, args, named) => new Generator(pick(value, args, named, false, true)),
};

/** Throws TemplateError for a filter that is not known, and for arguments that it does not have. */
export function applyFilter(name: string, value: Value, args: readonly Value[], named: Named): Value {
  if (Object.hasOwn(PICKERS, name)) return PICKERS[name]!(value, args, named);
  const [names, body] = Object.hasOwn(FILTERS, name) ? FILTERS[name]! : fail(`there is no filter '${name}'`);
  const given = bind(`the filter ${name}`, names === "" ? [] : names.split(" "), args, named);
  if (given.slice(0, body.length - 1).includes(undefined)) fail(`the filter ${name} lacks an argument`);
  return body(value, ...given);
}

function* map(value: Value, args: readonly Value[], named: Named): IterableIterator<Value> {
  if (!truth(value)) return;
  const path = named.get("attribute");
  let each: (next: Value) => Value;
  if (args.length === 0 && path !== undefined) {
    for (const name of named.keys())
      if (name !== "attribute" && name !== "default") fail(`map has no argument ${name}`);
    each = getter(path, named.get("default"));
  } else {
    const [name = fail("map requires a filter argument"), ...rest] = args;
    each = (next) => applyFilter(String(name), next, rest, named);
  }
  for (const next of iterate(value)) yield each(next);
}

function* pick(
  value: Value,
  args: readonly Value[],
  named: Named,
  keep: boolean,
  byAttribute: boolean,
): IterableIterator<Value> {
  if (!truth(value)) return;
  const [path, rest] = byAttribute
    ? [args[0] ?? fail("the attribute's name is missing"), args.slice(1)]
    : [undefined, args];
  const get = getter(path ?? NONE);
  const [test, ...more] = rest;
  for (const next of iterate(value)) {
    const tested = get(next);
    if ((test === undefined ? truth(tested) : applyTest(String(test), tested, more, named)) === keep) yield next;
  }
}
