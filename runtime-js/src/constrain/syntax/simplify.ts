// Builds nodes in a form that the automaton runs fast: no empty parts, texts joined, repeats of repeats made one, and
// nothing that may be empty repeated without end.
import { EMPTY, NOTHING, type Node, repeat, text } from "../grammar.js";

/** A larger count is no limit: no answer is so long. */
export const MOST = 2 ** 31 - 1;

const NONE: ReadonlySet<string> = new Set();
const known = new WeakMap<Node, boolean>();

/** Whether the node matches the empty text; of rules it is said by `rules`. */
export function nullable(node: Node, rules = NONE): boolean {
  const before = rules === NONE ? known.get(node) : undefined;
  if (before !== undefined) return before;
  const is = (one: Node): boolean => nullable(one, rules);
  let found = node.op === "without";
  if (node.op === "text") found = node.text === "";
  else if (node.op === "rule") found = rules.has(node.name);
  else if (node.op === "sequence") found = node.items.every(is);
  else if (node.op === "choice") found = node.items.some(is);
  else if (node.op === "repeat") found = node.min === 0 || is(node.item);
  if (rules === NONE) known.set(node, found);
  return found;
}

export const isNothing = (node: Node): boolean => node.op === "choice" && node.items.length === 0;
export const isEmpty = (node: Node): boolean => node.op === "sequence" && node.items.length === 0;

export function joined(items: readonly Node[]): Node {
  if (items.some(isNothing)) return NOTHING;
  const kept: Node[] = [];
  let run = "";
  const flush = (): void => {
    if (run) kept.push(text(run));
    run = "";
  };
  for (const item of items) {
    if (item.op === "text") run += item.text;
    else if (!isEmpty(item)) {
      flush();
      kept.push(item);
    }
  }
  flush();
  return kept.length === 0 ? EMPTY : kept.length === 1 ? kept[0]! : { op: "sequence", items: kept };
}

export function either(items: readonly Node[]): Node {
  const kept = [...new Set(items)].filter((item) => !isNothing(item));
  return kept.length === 0 ? NOTHING : kept.length === 1 ? kept[0]! : { op: "choice", items: kept };
}

export function repeated(item: Node, min: number, max: number): Node {
  if (max === 0 || isEmpty(item)) return EMPTY;
  if (isNothing(item)) return min === 0 ? EMPTY : NOTHING;
  const least = nullable(item) ? 0 : min;
  if (max === 1) return least === 1 || nullable(item) ? item : repeat(item, 0, 1);
  if (max === Infinity && nullable(item)) return repeat(either(parts(item, [])), 0);
  if (item.op === "repeat") {
    // All counts between are reached when those of `least` items touch those of one more.
    const from = item.min * least,
      to = item.max * max;
    const touch = item.max * least + 1 >= item.min * (least + 1) || least === max;
    if (touch && from <= MOST) return repeat(item.item, from, to > MOST ? Infinity : to);
  }
  return repeat(item, least, max);
}

/** What the node is made of, none of it empty, in any order and number: repeated without end it is the same. */
function parts(node: Node, found: Node[]): Node[] {
  if (!nullable(node)) found.push(node);
  else if (node.op === "sequence" || node.op === "choice") for (const item of node.items) parts(item, found);
  else if (node.op === "repeat") parts(node.item, found);
  else if (node.op === "without") found.push(node);
  return found;
}
