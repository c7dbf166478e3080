// Finds the rules of a grammar that texts can come to the end of, and leaves out what cannot: the automaton would lead
// a text into it and never out.
import { EMPTY, type Grammar, itemsOf, NOTHING, type Node } from "./grammar.js";
import { either, isNothing, joined } from "./syntax/simplify.js";

/** The rules that the node names, in order. */
function named(node: Node, found: string[] = []): string[] {
  if (node.op === "rule") found.push(node.name);
  for (const item of itemsOf(node)) named(item, found);
  return found;
}

/** The names and what they lead to, each after those that it leads to, but in circles. */
export function inOrder(names: Iterable<string>, next: (name: string) => Iterable<string>): string[] {
  const seen = new Set<string>(),
    order: string[] = [];
  const path = [{ name: "", names: names[Symbol.iterator]() }];
  for (let top = path.at(-1); top; top = path.at(-1)) {
    const { value: name, done } = top.names.next();
    if (done) {
      order.push(top.name);
      path.pop();
    } else if (!seen.has(name)) {
      seen.add(name);
      path.push({ name, names: next(name)[Symbol.iterator]() });
    }
  }
  return order.slice(0, -1);
}

/** The rules of which it holds, where of a rule's node it holds only because of rules of which it is known. */
export function rulesThat(
  { start, rules }: Grammar,
  holds: (node: Node, known: ReadonlySet<string>) => boolean,
): ReadonlySet<string> {
  const known = new Set<string>();
  let open = inOrder(named(start), (name) => named(rules.get(name) ?? NOTHING)),
    before = Infinity;
  while (open.length < before) {
    before = open.length;
    open = open.filter((name) => {
      const is = holds(rules.get(name) ?? NOTHING, known);
      if (is) known.add(name);
      return !is;
    });
  }
  return known;
}

function canEnd(node: Node, known: ReadonlySet<string>): boolean {
  switch (node.op) {
    case "rule":
      return known.has(node.name);
    case "chars":
      return node.ranges.length > 0;
    case "sequence":
      return node.items.every((item) => canEnd(item, known));
    case "choice":
      return node.items.some((item) => canEnd(item, known));
    case "repeat":
      return node.min <= node.max && (node.min === 0 || canEnd(node.item, known));
    default:
      return true;
  }
}

/** The grammar without what no text comes to the end of, and what nothing names; undefined if nothing is left. */
export function productive({ start, rules }: Grammar): Grammar | undefined {
  const known = rulesThat({ start, rules }, canEnd);
  if (!canEnd(start, known)) return undefined;
  const done = new Map<Node, Node>();
  const pruned = (node: Node): Node => {
    let found = done.get(node);
    if (!found) {
      found = without(node);
      done.set(node, found);
    }
    return found;
  };
  const without = (node: Node): Node => {
    if (node.op === "sequence") return joined(node.items.map(pruned));
    if (node.op === "choice") return either(node.items.map(pruned));
    if (node.op !== "repeat") return canEnd(node, known) ? node : NOTHING;
    const item = pruned(node.item);
    if (node.min > node.max || (node.min > 0 && isNothing(item))) return NOTHING;
    return isNothing(item) ? EMPTY : { ...node, item };
  };
  const kept = [...rules].filter(([name]) => known.has(name));
  return { start: pruned(start), rules: new Map(kept.map(([name, node]) => [name, pruned(node)])) };
}
