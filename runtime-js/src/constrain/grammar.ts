// Declares grammars: what an answer may be, as data. Schemas, expressions and tags become one; the automaton runs it.

/** Code points, both ends included. */
export type Range = readonly [from: number, to: number];

export type Node =
  /** These characters. */
  | { readonly op: "text"; readonly text: string }
  /** One character of the ranges, which are code points, surrogates left out. */
  | { readonly op: "chars"; readonly ranges: readonly Range[] }
  | { readonly op: "sequence"; readonly items: readonly Node[] }
  /** One of them; of none there is no text at all. */
  | { readonly op: "choice"; readonly items: readonly Node[] }
  | { readonly op: "repeat"; readonly item: Node; readonly min: number; readonly max: number }
  | { readonly op: "rule"; readonly name: string }
  /** Any text in which none of these occurs. They are not empty. */
  | { readonly op: "without"; readonly texts: readonly string[] };

/** Rules may call each other, and themselves after something else: a rule must not begin with itself. */
export interface Grammar {
  readonly start: Node;
  readonly rules: ReadonlyMap<string, Node>;
}

export const EMPTY: Node = { op: "sequence", items: [] };
/** Matches no text, not even the empty one. */
export const NOTHING: Node = { op: "choice", items: [] };

export const text = (value: string): Node => ({ op: "text", text: value });
export const chars = (...ranges: readonly Range[]): Node => ({ op: "chars", ranges });
export const sequence = (...items: readonly Node[]): Node => ({ op: "sequence", items });
export const choice = (...items: readonly Node[]): Node => ({ op: "choice", items });
export const repeat = (item: Node, min: number, max = Infinity): Node => ({ op: "repeat", item, min, max });
export const optional = (item: Node): Node => repeat(item, 0, 1);
export const rule = (name: string): Node => ({ op: "rule", name });
export const without = (...texts: readonly string[]): Node => ({ op: "without", texts });

/** The nodes that a node is made of. */
export function itemsOf(node: Node): readonly Node[] {
  if (node.op === "repeat") return [node.item];
  return node.op === "sequence" || node.op === "choice" ? node.items : [];
}
