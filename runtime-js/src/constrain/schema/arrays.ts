// Writes arrays: the items that have a schema each, then the others, as many as the bounds allow.
import { choice, EMPTY, NOTHING, type Node, optional, repeat, rule, sequence, text } from "../grammar.js";
import type { Emitter, Refuse } from "./emit.js";
import { type ArrayForm, itemSchemas } from "./forms.js";

const PREFIX = 200;
/** Values whose subsets are told apart. */
const DISTINCT = 8;

export function arrayNode(emitter: Emitter, form: ArrayForm, name: string, refuse: Refuse): Node {
  const { min, max, unique, contains, parts } = form;
  const within = (items: Node) => sequence(text("["), items, text("]"));
  if (contains.length) return within(containing(emitter, form, refuse));
  if (unique && max > 1) return within(distinct(emitter, form, name, refuse));
  const prefix = Math.min(max, Math.max(0, ...parts.map((part) => part.prefix.length)));
  if (prefix > PREFIX) throw refuse("prefixItems", `is supported for up to ${PREFIX} items.`);
  const item = (i: number) => emitter.value(itemSchemas(form, i));
  const after = item(prefix);
  if (prefix === 0) {
    if (max === 0) return within(EMPTY);
    const some = sequence(after, repeat(sequence(emitter.comma, after), Math.max(0, min - 1), max - 1));
    return within(min === 0 ? optional(some) : some);
  }
  let items = repeat(sequence(emitter.comma, after), Math.max(0, min - prefix), max - prefix);
  for (let i = prefix - 1; i >= 0; i--) {
    const here = sequence(i ? emitter.comma : EMPTY, item(i), items);
    items = i < min ? here : optional(here);
  }
  return within(items);
}

/** One item that is valid against `contains` as well, or several, between any others. */
function containing(emitter: Emitter, form: ArrayForm, refuse: Refuse): Node {
  const { min, max, unique, contains, parts } = form;
  const [wanted, more] = contains;
  if (more || unique || max < Infinity || min > wanted!.min || parts.some(({ prefix }) => prefix.length))
    throw refuse("contains", "is supported only beside items and minContains.");
  const schemas = itemSchemas(form, 0);
  const other = emitter.value(schemas);
  const found = emitter.value([...schemas, wanted!.schema]);
  const others = repeat(sequence(emitter.comma, other), 0);
  const next = sequence(others, emitter.comma, found);
  return sequence(choice(found, sequence(other, next)), repeat(next, wanted!.min - 1, wanted!.min - 1), others);
}

/** Arrays of a few values, none of them twice: a rule for each set of values that are used up. */
function distinct(emitter: Emitter, form: ArrayForm, name: string, refuse: Refuse): Node {
  const { min, max, parts } = form;
  const values = emitter.normalizer.forms(itemSchemas(form, 0));
  const only = values.flatMap((value) => (value.type === "value" ? [emitter.json(value.value)] : []));
  if (only.length < values.length || only.length > DISTINCT || parts.some(({ prefix }) => prefix.length))
    throw refuse("uniqueItems", `is supported for one item at most, or for items of up to ${DISTINCT} listed values.`);
  const at = (used: number) => `${name}u${used}`;
  for (let used = 0; used < 1 << only.length; used++) {
    const count = used.toString(2).replaceAll("0", "").length;
    const comma = count ? emitter.comma : EMPTY;
    const next = only.flatMap((value, i) =>
      used & (1 << i) ? [] : [sequence(comma, text(value), rule(at(used | (1 << i))))],
    );
    emitter.define(at(used), choice(count >= min ? EMPTY : NOTHING, ...(count < max ? next : [])));
  }
  return rule(at(0));
}
