// Walks a grammar at random and writes the text of the walk.
import type { Grammar, Node } from "../src/constrain/grammar.js";

const DEPTH = 60;
/** Nodes after which a text comes to its end as soon as it can. */
const NODES = 20_000;

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class RandomTexts {
  private written = 0;
  private readonly heights = new Map<string, number>();

  constructor(
    private readonly grammar: Grammar,
    private readonly random: () => number,
  ) {
    for (let changed = true; changed; ) {
      changed = false;
      for (const [name, node] of grammar.rules) {
        const height = this.height(node);
        if (height >= (this.heights.get(name) ?? Infinity)) continue;
        this.heights.set(name, height);
        changed = true;
      }
    }
  }

  next(): string {
    this.written = 0;
    return this.write(this.grammar.start, 0);
  }

  /** The rules within rules that a text of the node takes at least. */
  private height(node: Node): number {
    if (node.op === "sequence") return Math.max(0, ...node.items.map((item) => this.height(item)));
    if (node.op === "choice") return Math.min(...node.items.map((item) => this.height(item)));
    if (node.op === "repeat") return node.min === 0 ? 0 : this.height(node.item);
    return node.op === "rule" ? 1 + (this.heights.get(node.name) ?? Infinity) : 0;
  }

  private write(node: Node, depth: number): string {
    const deep = depth > DEPTH || ++this.written > NODES;
    if (node.op === "text") return node.text;
    if (node.op === "sequence") return node.items.map((item) => this.write(item, depth)).join("");
    if (node.op === "rule") return this.write(this.grammar.rules.get(node.name)!, depth + 1);
    if (node.op === "choice") {
      if (!deep) return this.write(this.pick(node.items), depth);
      const lowest = Math.min(...node.items.map((item) => this.height(item)));
      return this.write(node.items.find((item) => this.height(item) === lowest)!, depth);
    }
    if (node.op === "repeat") {
      const most = deep ? node.min : Math.min(node.max, node.min + (this.random() < 0.1 ? 30 : 3));
      const count = node.min + Math.floor(this.random() * (most - node.min + 1));
      return Array.from({ length: count }, () => this.write(node.item, depth)).join("");
    }
    if (node.op === "chars") return this.character(this.pick(node.ranges));
    throw new Error(`A schema's grammar has a node of the kind ${node.op}.`);
  }

  private character([from, to]: readonly [number, number]): string {
    const span = this.random() < 0.5 ? Math.min(to - from, 95) : to - from;
    const code = from + Math.floor(this.random() * (span + 1));
    return String.fromCodePoint(code < 0xd800 || code > 0xdfff ? code : from < 0xd800 ? from : to);
  }

  private pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.random() * list.length)]!;
  }
}
