// Knows what each token adds to a text, and which tokens may follow a state of an automaton.
import type { TextCodec } from "../text/codec.js";
import type { Automaton, State } from "./automaton.js";
import { makeTrie, type Trie } from "./trie.js";

export class Vocabulary {
  readonly words: number;
  private readonly bytes: (string | undefined)[] = [];
  private readonly trie: Trie;

  constructor(
    readonly codec: Pick<TextCodec, "bytes" | "encode" | "specialsIn">,
    size: number,
    readonly stopTokens: ReadonlySet<number>,
  ) {
    this.words = Math.ceil(size / 32);
    for (let id = 0; id < size; id++) {
      const token = codec.bytes(id);
      this.bytes.push(token?.special ? undefined : token?.bytes);
    }
    this.trie = makeTrie(this.bytes);
  }

  /** The special tokens that stand for a part of these texts, such as `<tool_call>`, and their bytes: a model says them
   * as one token. */
  specialsIn(texts: readonly string[]): ReadonlyMap<number, string> {
    const ids = [...this.codec.specialsIn(texts).keys()].filter((id) => !this.stopTokens.has(id));
    return new Map(ids.map((id) => [id, this.codec.bytes(id)!.bytes]));
  }

  /** A token's bytes, a character for each; `specials` are those that stand for text. */
  bytesOf(token: number, specials: ReadonlyMap<number, string>): string | undefined {
    return this.bytes[token] ?? specials.get(token);
  }

  /** The tokens whose bytes may follow: bit t % 32 of word t / 32 is token t's. `walks` keeps what is common to states
   * of one rule, wherever it was called from. */
  mask(
    automaton: Automaton,
    state: State,
    specials: ReadonlyMap<number, string>,
    walks: Map<string, Walk> = new Map(),
  ): Int32Array<ArrayBuffer> {
    const parts = automaton.split(state);
    let mask: Int32Array<ArrayBuffer>;
    if (parts) {
      const { within, after } = parts;
      let walk = walks.get(within.alike);
      if (!walk) {
        walk = this.walk(automaton, within, 0, this.trie.byte.length, new Int32Array(this.words));
        if (walks.size >= KEPT_WALKS) walks.clear();
        walks.set(within.alike, walk);
      }
      mask = walk.mask.slice();
      for (const node of walk.ends) this.walk(automaton, after, node + 1, this.trie.after[node]!, mask);
    } else mask = this.walk(automaton, state, 0, this.trie.byte.length, new Int32Array(this.words)).mask;
    for (const [id, bytes] of specials) if (automaton.follow(state, bytes)) allow(mask, id);
    if (state.complete) for (const id of this.stopTokens) allow(mask, id);
    return mask;
  }

  /** Allows the tokens of some nodes of the tree that may follow the state, which is that before the first of them. */
  private walk(automaton: Automaton, state: State, first: number, end: number, mask: Int32Array<ArrayBuffer>): Walk {
    const { byte, depth, after, token, alike } = this.trie;
    const ends: number[] = [];
    if (first >= end) return { mask, ends };
    const base = depth[first]! - 1,
      path: State[] = [state];
    for (let node = first; node < end; ) {
      const at = depth[node]! - base,
        before = path[at - 1]!,
        known = before.next[byte[node]!];
      const next = known === undefined ? automaton.step(before, byte[node]!) : known;
      if (!next) {
        node = after[node]!;
        continue;
      }
      path[at] = next;
      for (let id = token[node]!; id >= 0; id = alike[id]!) allow(mask, id);
      if (next.complete && after[node]! > node + 1) ends.push(node);
      node++;
    }
    return { mask, ends };
  }
}

/** The tokens that may follow a state, and the nodes of the tree at which it may have come to its end. */
interface Walk {
  readonly mask: Int32Array<ArrayBuffer>;
  readonly ends: readonly number[];
}

/** Walks that are kept: those of long strings that end soon are one for each character that is left. */
const KEPT_WALKS = 64;

function allow(mask: Int32Array, token: number): void {
  mask[token >> 5]! |= 1 << (token & 31);
}
