// Turns rules that begin with themselves into loops, or refuses them: the automaton would call them without end.
import { InvalidRequestError } from "../errors.js";
import { type Grammar, type Node, rule } from "./grammar.js";
import { rulesThat } from "./productive.js";
import { either, joined, repeated } from "./simplify.js";

/** `a ::= a x | a y a | b` is `a ::= b (x | y b)*`. Throws InvalidRequestError where that is not enough. */
export function withoutLeftRecursion(grammar: Grammar, field: string): Grammar {
  const rules = new Map<string, Node>();
  for (const [name, node] of grammar.rules) loop(name, node, rules);
  const found = { start: grammar.start, rules };
  refuseLeftRecursion(found, field);
  return found;
}

function loop(name: string, node: Node, rules: Map<string, Node>): void {
  const bases: Node[] = [],
    tails: Node[] = [];
  const first = `${name}'`;
  for (const item of node.op === "choice" ? node.items : [node]) {
    const parts = item.op === "sequence" ? item.items : [item];
    const isName = (part: Node | undefined): boolean => part?.op === "rule" && part.name === name;
    if (!isName(parts[0])) bases.push(item);
    else if (parts.length > 1) {
      const rest = parts.slice(1);
      if (isName(rest.at(-1))) rest[rest.length - 1] = rule(first);
      tails.push(joined(rest));
    }
  }
  if (tails.length > 0) {
    rules.set(first, either(bases));
    rules.set(name, joined([rule(first), repeated(either(tails), 0, Infinity)]));
  } else rules.set(name, either(bases));
}

function canBeEmpty(node: Node, known: ReadonlySet<string>): boolean {
  switch (node.op) {
    case "rule":
      return known.has(node.name);
    case "text":
      return node.text === "";
    case "sequence":
      return node.items.every((item) => canBeEmpty(item, known));
    case "choice":
      return node.items.some((item) => canBeEmpty(item, known));
    case "repeat":
      return node.min === 0 || canBeEmpty(node.item, known);
    default:
      return node.op === "without";
  }
}

/** Throws InvalidRequestError if a rule may begin with itself: the automaton would call it without end. */
export function refuseLeftRecursion(grammar: Grammar, field: string): void {
  const empty = rulesThat(grammar, canBeEmpty);
  const firsts = (node: Node, found: string[] = []): string[] => {
    if (node.op === "rule") found.push(node.name);
    else if (node.op === "repeat") firsts(node.item, found);
    else if (node.op === "choice") for (const item of node.items) firsts(item, found);
    else if (node.op === "sequence")
      for (const item of node.items) {
        firsts(item, found);
        if (!canBeEmpty(item, empty)) break;
      }
    return found;
  };
  const done = new Set<string>(),
    path = new Map<string, Iterator<string>>();
  for (const root of grammar.rules.keys()) {
    const enter = (name: string): unknown => path.set(name, firsts(grammar.rules.get(name)!)[Symbol.iterator]());
    if (!done.has(root)) enter(root);
    const names = [root];
    while (path.size > 0) {
      const name = names.at(-1)!,
        { value: next, done: ended } = path.get(name)!.next();
      if (ended) {
        path.delete(name);
        done.add(names.pop()!);
      } else if (path.has(next)) {
        const cycle = [...names.slice(names.indexOf(next)), next].map((one) => one.replace(/'$/, ""));
        const shown = [...cycle.slice(0, 6), ...(cycle.length > 6 ? ["…"] : [])].join(" → ");
        throw new InvalidRequestError(field, `the rule ${cycle[0]} may begin with itself: ${shown}.`, HINT);
      } else if (!done.has(next)) {
        names.push(next);
        enter(next);
      }
    }
  }
}

const HINT = "Let the rule begin with what it ends in, and repeat the rest: list ::= item (',' item)*.";
