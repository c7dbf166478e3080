// Turns rules that begin with themselves into loops, or refuses them: the automaton would call them without end.
import { InvalidRequestError } from "../../errors.js";
import { type Grammar, type Node, rule } from "../grammar.js";
import { inOrder, rulesThat } from "../productive.js";
import { either, joined, nullable, repeated } from "./simplify.js";

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

/** Throws InvalidRequestError if a rule may begin with itself: the automaton would call it without end. */
export function refuseLeftRecursion(grammar: Grammar, field: string): void {
  const empty = rulesThat(grammar, nullable);
  const firsts = (node: Node, found: string[] = []): string[] => {
    if (node.op === "rule") found.push(node.name);
    else if (node.op === "repeat") firsts(node.item, found);
    else if (node.op === "choice") for (const item of node.items) firsts(item, found);
    else if (node.op === "sequence")
      for (const item of node.items) {
        firsts(item, found);
        if (!nullable(item, empty)) break;
      }
    return found;
  };
  const next = (name: string): string[] => firsts(grammar.rules.get(name)!);
  const order = inOrder(grammar.rules.keys(), next),
    after = new Set<string>();
  for (const name of order) {
    after.add(name);
    for (const first of next(name))
      if (first === name || !after.has(first))
        throw new InvalidRequestError(
          field,
          `the rule ${first} may begin with itself${first === name ? "" : `, by way of ${name}`}.`.replaceAll("'", ""),
          "Let it begin with what comes first, and repeat the rest: list ::= item (',' item)*.",
        );
  }
}
