// Follows one answer through a grammar's automaton, for the decode loop.
import type { Constraint } from "../decode/index.js";
import { InvalidRequestError } from "../errors.js";
import { type Automaton, type State, TooAmbiguousError } from "./automaton.js";
import type { Vocabulary } from "./vocabulary.js";

/** Masks that a grammar keeps. One of a vocabulary of 262,144 tokens has 32 KB. */
const KEPT = 256;
/** Bytes that are forced at once. */
const FORCED = 1024;

/** What the answers under one grammar share. */
export class ConstrainedGrammar {
  private readonly masks = new Map<string, Int32Array<ArrayBuffer>>();
  private readonly walks: Parameters<Vocabulary["mask"]>[3] = new Map();

  constructor(
    readonly automaton: Automaton,
    readonly vocabulary: Vocabulary,
    /** Special tokens that stand for a part of the grammar's text. */
    readonly specials: ReadonlyMap<number, string>,
    /** The request's field that the grammar is of. */
    readonly field: string,
  ) {}

  begin(): Constraint {
    return new ConstrainedAnswer(this);
  }

  /** The mask of a state, or of one that is alike. */
  mask(state: State): Int32Array<ArrayBuffer> {
    let mask = this.masks.get(state.alike);
    if (mask)
      this.masks.delete(state.alike); // and put at the end: the one used longest ago goes first
    else {
      mask = this.vocabulary.mask(this.automaton, state, this.specials, this.walks);
      if (mask.every((word) => word === 0))
        throw new InvalidRequestError(this.field, "leads to a text that this model's tokens cannot go on with.");
    }
    this.masks.set(state.alike, mask);
    if (this.masks.size > KEPT) this.masks.delete(this.masks.keys().next().value!);
    return mask;
  }
}

class ConstrainedAnswer implements Constraint {
  private state: State;
  private ended = false;

  constructor(private readonly grammar: ConstrainedGrammar) {
    this.state = grammar.automaton.start;
  }

  mask(): Int32Array<ArrayBuffer> {
    return this.checked(() => this.grammar.mask(this.state));
  }

  accept(token: number): void {
    this.checked(() => this.take(token));
  }

  force(): number[] {
    return this.checked(() => {
      if (this.ended) return [];
      const { vocabulary, specials } = this.grammar;
      const { bytes, end } = this.forcedBytes();
      const forced: number[] = [];
      let length = 0;
      for (const token of bytes ? vocabulary.codec.encode(wholeText(bytes), false) : []) {
        const own = vocabulary.bytesOf(token, specials);
        if (!own || !bytes.startsWith(own, length)) break;
        forced.push(token);
        length += own.length;
      }
      // What follows may belong to the last token too, and the model is to choose it.
      if (!(end && length === bytes.length)) forced.pop();
      for (const token of forced) this.take(token);
      const { places, complete } = this.state;
      if (complete && places.length === 0) {
        this.ended = true;
        forced.push(...[...vocabulary.stopTokens].slice(0, 1));
      }
      return forced;
    });
  }

  private take(token: number): void {
    const { automaton, vocabulary, specials } = this.grammar;
    if (vocabulary.stopTokens.has(token)) {
      this.ended = true;
      return;
    }
    const next = automaton.follow(this.state, vocabulary.bytesOf(token, specials) ?? "\0");
    if (!next) throw new Error(`Token ${token} breaks the answer's grammar.`);
    this.state = automaton.renew(next);
  }

  /** What alone can follow, and whether the answer ends with it. */
  private forcedBytes(): { bytes: string; end: boolean } {
    const { automaton } = this.grammar;
    let bytes = "",
      { state } = this;
    for (let byte = automaton.onlyByte(state); byte >= 0 && bytes.length < FORCED; byte = automaton.onlyByte(state)) {
      bytes += String.fromCharCode(byte);
      state = automaton.step(state, byte)!;
    }
    return { bytes, end: state.complete && state.places.length === 0 };
  }

  private checked<T>(run: () => T): T {
    try {
      return run();
    } catch (error) {
      if (error instanceof TooAmbiguousError)
        throw new InvalidRequestError(this.grammar.field, "can be read in too many ways.");
      throw error;
    }
  }
}

/** Bytes as text, without the part of a character that they may end with. */
function wholeText(bytes: string): string {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return decoder.decode(
    Uint8Array.from(bytes, (byte) => byte.charCodeAt(0)),
    { stream: true },
  );
}
