// Builds the strings that are of several expressions at once, of none of others, and of a length. States are made when
// they are reached, each a rule. One holds what may still follow of each expression (Antimirov, 1996).
import { choice, EMPTY, type Node, type Range, rule, sequence } from "../grammar.js";
import type { Define } from "./numbers.js";

const STATES = 20_000;
const WORK = 500_000;
const LAST = 0x10ffff;
const SURROGATES: Range = [0xd800, 0xdfff];

export interface Wanted {
  readonly like: readonly Node[];
  readonly unlike: readonly Node[];
  readonly min: number;
  readonly max: number;
}

/** A node, and what follows it. */
interface Rest {
  readonly id: number;
  readonly node: Node;
  readonly below: Rest | undefined;
}
interface Positions {
  readonly key: string;
  readonly rests: readonly Rest[];
  readonly ends: boolean;
}
interface State {
  readonly key: string;
  readonly like: readonly Positions[];
  readonly unlike: readonly Positions[];
  readonly length: number;
}

/** A node of the wanted strings; `write` says how a character is written. Throws `fail()` for too many states. */
export function productNode(
  wanted: Wanted,
  write: (ranges: readonly Range[]) => Node,
  name: string,
  define: Define,
  fail: () => Error,
): Node {
  return new Product(wanted, write, name, define, fail).build();
}

class Product {
  private readonly rests = new Map<string, Rest>();
  private readonly nodes = new Map<Node, number>();
  private readonly counts = new Map<string, Node>();
  private readonly names = new Map<string, string>();
  private readonly queue: State[] = [];
  private work = WORK;

  constructor(
    private readonly wanted: Wanted,
    private readonly write: (ranges: readonly Range[]) => Node,
    private readonly name: string,
    private readonly define: Define,
    private readonly fail: () => Error,
  ) {}

  build(): Node {
    const start = (node: Node) => this.positions([this.rest(node, undefined)]);
    const first = this.visit(this.wanted.like.map(start), this.wanted.unlike.map(start), 0);
    for (let state = this.queue.pop(); state; state = this.queue.pop()) this.emit(state);
    return rule(first);
  }

  private visit(like: readonly Positions[], unlike: readonly Positions[], length: number): string {
    const { min, max } = this.wanted;
    const counted = max < Infinity ? length : Math.min(length, min);
    const key = `${like.map(({ key }) => key).join("&")}!${unlike.map(({ key }) => key).join("|")}#${counted}`;
    let name = this.names.get(key);
    if (!name) {
      name = `${this.name}w${this.names.size}`;
      this.names.set(key, name);
      if (this.names.size > STATES) throw this.fail();
      this.queue.push({ key, like, unlike, length: counted });
    }
    return name;
  }

  private emit({ key, like, unlike, length }: State): void {
    const { min, max } = this.wanted;
    const parts: Node[] = [];
    if (length >= min && like.every(({ ends }) => ends) && !unlike.some(({ ends }) => ends)) parts.push(EMPTY);
    const groups = new Map<string, Range[]>();
    if (length < max)
      for (const [from, to] of this.intervals([...like, ...unlike])) {
        const after = like.map((positions) => this.step(positions, from));
        if (after.some(({ rests, ends }) => !ends && rests.length === 0)) continue;
        const next = this.visit(
          after,
          unlike.map((positions) => this.step(positions, from)),
          length + 1,
        );
        const ranges = groups.get(next) ?? [];
        const last = ranges.at(-1);
        if (last && last[1] === from - 1) ranges[ranges.length - 1] = [last[0], to];
        else ranges.push([from, to]);
        groups.set(next, ranges);
      }
    for (const [next, ranges] of groups) parts.push(sequence(this.write(ranges), rule(next)));
    this.define(this.names.get(key)!, choice(...parts));
  }

  /** Characters that no expression tells apart. */
  private intervals(all: readonly Positions[]): Range[] {
    const starts = new Set([0, SURROGATES[0], SURROGATES[1] + 1]);
    for (const { rests } of all)
      for (const { node } of rests)
        for (const [from, to] of rangesOf(node)) {
          starts.add(from);
          if (to < LAST) starts.add(to + 1);
        }
    const sorted = [...starts].sort((a, b) => a - b);
    const intervals = sorted.map((from, i) => [from, (sorted[i + 1] ?? LAST + 1) - 1] as const);
    return intervals.filter(([from]) => from < SURROGATES[0] || from > SURROGATES[1]);
  }

  private step({ rests }: Positions, code: number): Positions {
    const next: Rest[] = [];
    for (const { node, below } of rests) {
      if (--this.work < 0) throw this.fail();
      if (!rangesOf(node).some(([from, to]) => code >= from && code <= to)) continue;
      if (node.op !== "text") {
        if (below) next.push(below);
        else next.push(this.rest(EMPTY, undefined));
        continue;
      }
      next.push(this.rest(this.textAfter(node.text.slice(code > 0xffff ? 2 : 1)), below));
    }
    return this.positions(next);
  }

  /** What can be reached without a character: nodes that begin with one, and whether the string may end. */
  private positions(from: readonly Rest[]): Positions {
    const seen = new Set<Rest>();
    const todo = [...from];
    const rests: Rest[] = [];
    let ends = false;
    for (let rest = todo.pop(); rest; rest = todo.pop()) {
      if (seen.has(rest)) continue;
      if (--this.work < 0) throw this.fail();
      seen.add(rest);
      const { node, below } = rest;
      const go = (after: Rest | undefined) => {
        if (after) todo.push(after);
        else ends = true;
      };
      if (node.op === "chars" || (node.op === "text" && node.text !== "")) rests.push(rest);
      else if (node.op === "text") go(below);
      else if (node.op === "sequence")
        go(node.items.reduceRight<Rest | undefined>((then, item) => this.rest(item, then), below));
      else if (node.op === "choice") for (const item of node.items) todo.push(this.rest(item, below));
      else if (node.op === "repeat") {
        const { item, min, max } = node;
        if (min === 0) go(below);
        if (max > 0) todo.push(this.rest(item, this.rest(this.counted(item, Math.max(0, min - 1), max - 1), below)));
      } else throw new Error(`An expression has a node of the kind ${node.op}.`);
    }
    rests.sort((a, b) => a.id - b.id);
    return { key: `${ends ? "." : ""}${rests.map(({ id }) => id).join()}`, rests, ends };
  }

  private rest(node: Node, below: Rest | undefined): Rest {
    const key = `${this.number(node)},${below?.id ?? ""}`;
    let rest = this.rests.get(key);
    if (!rest) {
      rest = { id: this.rests.size, node, below };
      this.rests.set(key, rest);
    }
    return rest;
  }

  private number(node: Node): number {
    if (!this.nodes.has(node)) this.nodes.set(node, this.nodes.size);
    return this.nodes.get(node)!;
  }

  private counted(item: Node, min: number, max: number): Node {
    const key = `${this.number(item)},${min},${max}`;
    if (!this.counts.has(key)) this.counts.set(key, { op: "repeat", item, min, max });
    return this.counts.get(key)!;
  }

  private textAfter(value: string): Node {
    const key = `"${value}`;
    if (!this.counts.has(key)) this.counts.set(key, { op: "text", text: value });
    return this.counts.get(key)!;
  }
}

function rangesOf(node: Node): readonly Range[] {
  if (node.op === "chars") return node.ranges;
  const code = node.op === "text" ? node.text.codePointAt(0)! : 0;
  return [[code, code]];
}
