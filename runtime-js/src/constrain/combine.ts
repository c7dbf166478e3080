// Puts grammars into one: the names of rules that came from elsewhere get a number, so that none means two things.
import type { Grammar, Node } from "./grammar.js";

export class Combined {
  readonly rules = new Map<string, Node>();
  private count = 0;

  /** The start of a grammar whose rules are from now on among the rules. */
  add({ start, rules }: Grammar): Node {
    if (rules.size === 0) return start;
    const prefix = `${this.count++}:`,
      done = new Map<Node, Node>();
    const renamed = (node: Node): Node => {
      let found = done.get(node);
      if (!found) {
        if (node.op === "rule") found = { op: "rule", name: prefix + node.name };
        else if (node.op === "repeat") found = { ...node, item: renamed(node.item) };
        else if (node.op === "sequence" || node.op === "choice") found = { ...node, items: node.items.map(renamed) };
        else found = node;
        done.set(node, found);
      }
      return found;
    };
    for (const [name, node] of rules) this.rules.set(prefix + name, renamed(node));
    return renamed(start);
  }
}
