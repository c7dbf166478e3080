// Compiles a grammar to a network of states over bytes: rules are called, and counted repeats count on the stack.
import { EMPTY, type Grammar, type Node, type Range } from "./grammar.js";
import { type Bytes, utf8 } from "./utf8.js";
import { textsWithout } from "./without.js";

/** Bytes, both ends included, and where they lead. */
export type Edge = readonly [from: number, to: number, target: number];

/** A counted repeat: `body` runs min to max times, which may be Infinity, then `exit` goes on. */
export interface Counted {
  readonly body: number;
  readonly min: number;
  readonly max: number;
  readonly exit: number;
}

/** States are numbers. Each has what its number is in these; `final` ends a rule, a repeat's body, or the answer. */
export interface Program {
  readonly start: number;
  readonly edges: readonly (readonly Edge[])[];
  readonly free: readonly (readonly number[])[];
  readonly calls: readonly (readonly (readonly [rule: number, back: number])[])[];
  readonly counted: readonly (Counted | undefined)[];
  readonly final: readonly boolean[];
  /** Where nothing but the end can follow: a call that comes back here need not come back. */
  readonly ends: readonly boolean[];
}

/** States that a program may have. */
const MAX_STATES = 500_000;

export class TooLargeError extends Error {}

export function compileGrammar({ start, rules }: Grammar): Program {
  const compiler = new Compiler(rules);
  return compiler.program(start);
}

class Compiler {
  private readonly edges: Edge[][] = [];
  private readonly free: number[][] = [];
  private readonly calls: [number, number][][] = [];
  private readonly counted: (Counted | undefined)[] = [];
  private readonly final: boolean[] = [];
  /** The first states of rules. */
  private readonly starts = new Map<string, number>();
  /** What is still to be added: in a list, so that nesting takes no stack. */
  private readonly later: (() => void)[] = [];
  /** The states that lead to another by any last bytes of a character, by their number and the other. */
  private readonly rests = new Map<string, number>();

  constructor(private readonly rules: ReadonlyMap<string, Node>) {}

  program(node: Node): Program {
    const start = this.body(node);
    for (let next = this.later.pop(); next; next = this.later.pop()) next();
    const { edges, free, calls, counted, final } = this;
    const ends = final.map(
      (is, q) => is && !edges[q]!.length && !free[q]!.length && !calls[q]!.length && counted[q] === undefined,
    );
    return { start, edges, free, calls, counted, final, ends };
  }

  private state(): number {
    if (this.edges.length >= MAX_STATES) throw new TooLargeError("the grammar has too many states");
    this.free.push([]);
    this.calls.push([]);
    this.counted.push(undefined);
    this.final.push(false);
    return this.edges.push([]) - 1;
  }

  /** The first state of a node that ends with a return. */
  private body(node: Node): number {
    const start = this.state(),
      end = this.state();
    this.final[end] = true;
    this.add(node, start, end);
    return start;
  }

  private ruleStart(name: string): number {
    const known = this.starts.get(name);
    if (known !== undefined) return known;
    const start = this.state(),
      end = this.state();
    this.final[end] = true;
    this.starts.set(name, start);
    this.later.push(() => this.add(this.rules.get(name) ?? { op: "choice", items: [] }, start, end));
    return start;
  }

  /** Adds what leads from one state to the other by the node. */
  private add(node: Node, from: number, to: number): void {
    switch (node.op) {
      case "text":
        this.bytes(new TextEncoder().encode(node.text), from, to);
        return;
      case "chars":
        this.characters(node.ranges, from, to);
        return;
      case "sequence":
        this.sequence(node.items, from, to);
        return;
      case "choice":
        this.choice(node.items, from, to);
        return;
      case "repeat":
        this.repeat(node, from, to);
        return;
      case "rule":
        this.calls[from]!.push([this.ruleStart(node.name), to]);
        return;
      case "without":
        this.without(node.texts, from, to);
        return;
    }
  }

  private bytes(bytes: Uint8Array, from: number, to: number): void {
    if (bytes.length === 0) this.free[from]!.push(to);
    let at = from;
    bytes.forEach((byte, i) => {
      const next = i === bytes.length - 1 ? to : this.state();
      this.edges[at]!.push([byte, byte, next]);
      at = next;
    });
  }

  /** What begins with texts shares the states that these have in common: the places in thousands of them are one. */
  private choice(items: readonly Node[], from: number, to: number): void {
    const after = new Map<number, Map<number, number>>();
    for (const item of items) {
      const [first, ...rest] = item.op === "sequence" ? item.items : [item];
      if (first?.op !== "text") {
        this.later.push(() => this.add(item, from, to));
        continue;
      }
      let at = from;
      for (const byte of new TextEncoder().encode(first.text)) {
        const known = after.get(at) ?? new Map<number, number>();
        after.set(at, known);
        let next = known.get(byte);
        if (next === undefined) {
          next = this.state();
          known.set(byte, next);
          this.edges[at]!.push([byte, byte, next]);
        }
        at = next;
      }
      this.sequence(rest, at, to);
    }
  }

  private sequence(items: readonly Node[], from: number, to: number): void {
    if (items.length === 0) this.free[from]!.push(to);
    let at = from;
    items.forEach((item, i) => {
      const start = at,
        next = i === items.length - 1 ? to : this.state();
      this.later.push(() => this.add(item, start, next));
      at = next;
    });
  }

  /** A body that loops is entered by a state of its own: what comes in from elsewhere must not be looped to. It is made
   * once, since in it others may loop. */
  private repeat({ item, min, max }: Node & { op: "repeat" }, from: number, to: number): void {
    if (max < min) return;
    if (max === 0) this.add(EMPTY, from, to);
    else if (max === Infinity && min < 2) {
      const loop = this.state(),
        end = min === 0 ? loop : this.state();
      this.later.push(() => this.add(item, loop, end));
      this.free[from]!.push(loop);
      if (min === 1) this.free[end]!.push(loop);
      this.free[end]!.push(to);
    } else if (max === 1) {
      if (min === 0) this.free[from]!.push(to);
      this.later.push(() => this.add(item, from, to));
    } else this.count(item, min, max, from, to);
  }

  private count(item: Node, min: number, max: number, from: number, to: number): void {
    const counter = this.state(),
      body = this.state(),
      end = this.state();
    this.final[end] = true;
    this.free[from]!.push(counter);
    this.counted[counter] = { body, min, max, exit: to };
    this.later.push(() => this.add(item, body, end));
  }

  /** One character. Those that begin alike share their first states, and those that end in any bytes their last. */
  private characters(ranges: readonly Range[], from: number, to: number): void {
    let before: Bytes = [],
      path: readonly number[] = [from];
    for (const bytes of utf8(ranges)) {
      const states = [from];
      for (let i = 0; i < bytes.length; i++) {
        const [low, high] = bytes[i]!,
          [lowBefore, highBefore] = before[i] ?? [];
        const alike = states[i] === path[i] && low === lowBefore && high === highBefore;
        let next = alike ? path[i + 1] : undefined;
        if (next === undefined) {
          const left = bytes.length - 1 - i;
          const any = bytes.slice(i + 1).every((byte) => byte[0] === 0x80 && byte[1] === 0xbf);
          next = any ? this.rest(left, to) : this.state();
          this.edges[states[i]!]!.push([low, high, next]);
          if (any) break;
        }
        states.push(next);
      }
      before = bytes;
      path = states;
    }
  }

  /** The state that a character's last bytes, whichever, lead from. */
  private rest(bytes: number, to: number): number {
    if (bytes === 0) return to;
    const key = `${bytes} ${to}`;
    let state = this.rests.get(key);
    if (state === undefined) {
      state = this.state();
      this.rests.set(key, state);
      this.edges[state]!.push([0x80, 0xbf, this.rest(bytes - 1, to)]);
    }
    return state;
  }

  private without(texts: readonly string[], from: number, to: number): void {
    const machine = textsWithout(texts.map((text) => new TextEncoder().encode(text)));
    const states = machine.map(() => this.state());
    this.free[from]!.push(states[0]!);
    machine.forEach((edges, i) => {
      for (const [a, b, target] of edges) this.edges[states[i]!]!.push([a, b, states[target]!]);
      this.free[states[i]!]!.push(to);
    });
  }
}
