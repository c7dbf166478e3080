// Takes out what can never come to an end, such as a rule that always needs itself: no answer may be led there.
import { choice, EMPTY, type Grammar, NOTHING, type Node, repeat, sequence } from "../grammar.js";

/** The nodes in a tree. */
export function size(node: Node): number {
  if (node.op === "sequence" || node.op === "choice") return node.items.reduce((sum, item) => sum + size(item), 1);
  return node.op === "repeat" ? 1 + size(node.item) : 1;
}

/** The grammar without what no text matches; undefined where nothing is left. */
export function prune({ start, rules }: Grammar): Grammar | undefined {
  const good = new Set<string>();
  const ends = (node: Node): boolean => {
    if (node.op === "sequence") return node.items.every(ends);
    if (node.op === "choice") return node.items.some(ends);
    if (node.op === "repeat") return node.min === 0 || ends(node.item);
    if (node.op === "chars") return node.ranges.length > 0;
    return node.op !== "rule" || good.has(node.name);
  };
  // A rule mostly needs later ones.
  let open = [...rules].reverse();
  for (let before = -1; before !== open.length; ) {
    before = open.length;
    open = open.filter(([name, node]) => {
      if (ends(node)) good.add(name);
      return !good.has(name);
    });
  }
  if (!ends(start)) return undefined;
  const clean = (node: Node): Node => {
    if (!ends(node)) return NOTHING;
    if (node.op === "sequence") return sequence(...node.items.map(clean));
    if (node.op === "choice") {
      const items = node.items.filter(ends).map(clean);
      return items.length === 1 ? items[0]! : choice(...items);
    }
    if (node.op !== "repeat") return node;
    return ends(node.item) ? repeat(clean(node.item), node.min, node.max) : EMPTY;
  };
  return {
    start: clean(start),
    rules: new Map([...rules].filter(([name]) => good.has(name)).map(([name, node]) => [name, clean(node)])),
  };
}
