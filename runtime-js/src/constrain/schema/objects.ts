// Writes objects: the named properties in the schema's order, then others. A text may have a key of the others twice:
// JSON.parse then takes the last, and each is valid by itself.
import { choice, EMPTY, NOTHING, type Node, optional, repeat, rule, sequence, text } from "../grammar.js";
import type { Emitter, Refuse } from "./emit.js";
import { ANY_STRING, type ObjectForm, propertySchemas, type StringForm } from "./forms.js";
import type { Schema } from "./read.js";

interface Slot {
  readonly node: Node;
  readonly required: boolean;
}

/** Patterns of property names that are told apart. */
const PATTERNS = 4;
const COUNTED = 20_000;

export function objectNode(emitter: Emitter, form: ObjectForm, name: string, refuse: Refuse): Node {
  const { normalizer } = emitter;
  const { logic } = normalizer;
  const required = new Set(form.required);
  const declared = new Set([...form.parts.flatMap(({ properties }) => [...properties.keys()]), ...required]);
  const slots: Slot[] = [];
  emitter.spend(4 * declared.size);
  const add = (key: string, listed = false) => {
    const schemas = propertySchemas(form, key, logic.matches);
    const possible = normalizer.forms(schemas).length > 0 && (listed || logic.valid(form.names, key));
    if (!possible && !required.has(key)) return;
    const node = possible ? member(emitter, text(JSON.stringify(key)), schemas) : NOTHING;
    slots.push({ node, required: required.has(key) });
  };
  for (const key of declared) add(key);
  const wide: StringForm[] = [];
  for (const names of normalizer.forms(form.names)) {
    if (names.type === "string") wide.push(names);
    else if (names.type !== "value" || typeof names.value !== "string" || declared.has(names.value)) continue;
    else add(names.value, true);
  }
  const closed = emitter.closed && form.min <= slots.length && saysNoOthers(form);
  const others = closed ? undefined : extras(emitter, form, [...declared], wide, name, refuse);
  return sequence(text("{"), joined(emitter, form, slots, others, name, refuse), text("}"));
}

/** Whether it names properties that there may be, and no schema says anything of others. */
const saysNoOthers = ({ parts, names }: ObjectForm): boolean =>
  names.length === 0 &&
  parts.some(({ properties }) => [...properties.values()].some((schema) => schema !== false)) &&
  parts.every(({ explicit, patterns }) => !explicit && patterns.size === 0);

const member = (emitter: Emitter, key: Node, schemas: readonly Schema[]): Node =>
  sequence(key, text(emitter.colon), emitter.value(schemas));

/** A member that the schemas do not name; undefined where there can be none. */
function extras(
  emitter: Emitter,
  form: ObjectForm,
  declared: readonly string[],
  names: readonly StringForm[],
  name: string,
  refuse: Refuse,
): Node | undefined {
  const { parts } = form;
  const { normalizer } = emitter;
  const patterns = [...new Set(parts.flatMap((part) => [...part.patterns.keys()]))];
  if (patterns.length > PATTERNS) throw refuse("patternProperties", `is supported for up to ${PATTERNS} patterns.`);
  const nodes: Node[] = [];
  // A key for each set of patterns that match it, and no others.
  for (let set = 0; set < 1 << patterns.length; set++) {
    const like = patterns.filter((_, i) => set & (1 << i));
    const unlike = patterns.filter((pattern) => !like.includes(pattern));
    const schemas = parts.flatMap(({ patterns: own, rest }) => {
      const matched = like.flatMap((pattern) => own.get(pattern) ?? []);
      return matched.length ? matched : [rest];
    });
    if (normalizer.forms(schemas).length === 0) continue;
    for (const [i, base] of names.entries()) {
      const key: StringForm = {
        ...ANY_STRING,
        ...base,
        patterns: [...new Set([...base.patterns, ...like])],
        unlike: [...new Set([...base.unlike, ...unlike])],
        except: [...new Set([...base.except, ...declared])],
      };
      const cannot: Refuse = (_, why) => refuse(patterns.length ? "patternProperties" : "additionalProperties", why);
      nodes.push(member(emitter, emitter.quoted(key, `${name}k${set}.${i}.`, cannot), schemas));
    }
  }
  return nodes.length ? choice(...nodes) : undefined;
}

/** The members with commas between them, as many as the form's bounds allow. */
function joined(
  emitter: Emitter,
  { min, max }: ObjectForm,
  slots: readonly Slot[],
  others: Node | undefined,
  name: string,
  refuse: Refuse,
): Node {
  const needed = slots.filter(({ required }) => required).length;
  if (min > needed + 1 && others) throw refuse("minProperties", "is supported only where no others are allowed.");
  const most = others ? Infinity : slots.length;
  if (min > most || max < needed) return NOTHING;
  if (max < most || min > Math.max(needed, 1)) return counted(emitter, min, max, slots, others, name, refuse);
  const { comma } = emitter;
  const first = slots.findIndex(({ required }) => required);
  const more = others ? repeat(sequence(comma, others), 0) : EMPTY;
  if (first >= 0) {
    const before = slots.slice(0, first).map(({ node }) => optional(sequence(node, comma)));
    const after = slots.slice(first + 1).map(({ node, required }) => {
      const next = sequence(comma, node);
      return required ? next : optional(next);
    });
    if (min <= needed) return sequence(...before, slots[first]!.node, ...after, more);
    return counted(emitter, min, max, slots, others, name, refuse);
  }
  const nodes = slots.map(({ node }) => node);
  const some = nonEmpty(nodes, others, comma);
  return min > 0 ? some : optional(some);
}

/** One or more of the nodes, in their order. */
function nonEmpty(nodes: readonly Node[], others: Node | undefined, comma: Node): Node {
  const tail = (from: number, to: number): Node[] =>
    nodes.slice(from, to).map((node) => optional(sequence(comma, node)));
  const within = (from: number, to: number): Node => {
    if (to - from === 0) return NOTHING;
    if (to - from === 1) return nodes[from]!;
    const middle = (from + to) >> 1;
    return choice(sequence(within(from, middle), ...tail(middle, to)), within(middle, to));
  };
  const named = within(0, nodes.length);
  if (!others) return named;
  const more = repeat(sequence(comma, others), 0);
  return choice(sequence(named, more), sequence(others, more));
}

/** A rule for each member and number of members before it. */
function counted(
  emitter: Emitter,
  min: number,
  max: number,
  slots: readonly Slot[],
  others: Node | undefined,
  name: string,
  refuse: Refuse,
): Node {
  const most = Math.min(max, slots.length);
  if (slots.length * most > COUNTED)
    throw refuse(max < Infinity ? "maxProperties" : "minProperties", "has too many properties to count.");
  const at = (i: number, count: number) => `${name}c${i}.${count}`;
  for (let i = 0; i <= slots.length; i++)
    for (let count = 0; count <= Math.min(i, most); count++) {
      const comma = count ? emitter.comma : EMPTY;
      let node: Node;
      if (i < slots.length) {
        const { node: own, required } = slots[i]!;
        const taken = count < max ? sequence(comma, own, rule(at(i + 1, count + 1))) : NOTHING;
        node = required ? taken : choice(taken, rule(at(i + 1, count)));
      } else if (!others) node = count >= min ? EMPTY : NOTHING;
      else if (count >= max) node = EMPTY;
      else {
        const more = sequence(comma, others, repeat(sequence(emitter.comma, others), 0, max - count - 1));
        node = count >= min ? optional(more) : more;
      }
      emitter.define(at(i, count), node);
    }
  return rule(at(0, 0));
}
