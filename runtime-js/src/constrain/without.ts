// Makes the automaton of texts in which none of some texts occurs, after Aho and Corasick (1975).
import type { Edge } from "./program.js";

/** The edges of each state; the first is the start, and a text may end in any. Its bytes are those of UTF-8, of which
 * the order is not checked: a tokenizer's tokens may end inside a character. */
export function textsWithout(texts: readonly Uint8Array[]): Edge[][] {
  const children: Map<number, number>[] = [new Map()];
  const bad: boolean[] = [false];
  for (const bytes of texts) {
    let at = 0;
    for (const byte of bytes) {
      let next = children[at]!.get(byte);
      if (next === undefined) {
        next = children.push(new Map()) - 1;
        bad.push(false);
        children[at]!.set(byte, next);
      }
      at = next;
    }
    bad[at] = true;
  }
  const next = Array.from({ length: children.length }, () => new Int32Array(256));
  const fall = new Int32Array(children.length);
  const order: number[] = [0];
  for (const node of order)
    for (let byte = 0; byte < 256; byte++) {
      const child = children[node]!.get(byte);
      const otherwise = node === 0 ? 0 : next[fall[node]!]![byte]!;
      next[node]![byte] = child ?? otherwise;
      if (child === undefined) continue;
      fall[child] = otherwise;
      bad[child] ||= bad[otherwise]!;
      order.push(child);
    }
  const kept = new Map(order.filter((node) => !bad[node]).map((node, i) => [node, i]));
  return [...kept.keys()].map((node) => runs(next[node]!, kept));
}

/** A table of targets as ranges of bytes; those that are not kept are left out. */
function runs(table: Int32Array, kept: ReadonlyMap<number, number>): Edge[] {
  const edges: Edge[] = [];
  for (let from = 0; from < 256; ) {
    let to = from;
    while (to < 255 && table[to + 1] === table[from]) to++;
    const target = kept.get(table[from]!);
    if (target !== undefined) edges.push([from, to, target]);
    from = to + 1;
  }
  return edges;
}
