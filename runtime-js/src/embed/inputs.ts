// Turns texts into tokens, and holds them to the model's limit.
import { ContextLengthError, InvalidRequestError } from "../errors.js";
import type { TextCodec } from "../text/codec.js";
import { type Around, assemble, type Typed } from "../text/post_processor.js";

export interface InputRules {
  readonly codec: Pick<TextCodec, "encode">;
  /** What the tokenizer puts around a text, and around two. */
  readonly around: Around;
  /** The longest text in tokens, special ones counted. */
  readonly limit: number;
  readonly vocabSize: number;
}

export class Inputs {
  /** Of all texts so far, as the model reads them. */
  count = 0;

  constructor(
    private readonly rules: InputRules,
    private readonly truncate: boolean,
  ) {}

  /** One text, or a pair. `at` names it in errors. */
  text(texts: readonly string[], at: string): Typed {
    const typed = this.read(texts);
    return this.checked(typed, at, typed.size);
  }

  /** The same, too long or empty as it may be, and how many tokens it has uncut. */
  read(texts: readonly string[]): Typed & { readonly size: number } {
    const { codec, around, limit } = this.rules;
    const lists = texts.map((text) => codec.encode(text, false));
    const special = assemble(
      around,
      texts.map(() => []),
    ).tokens.length;
    const size = lists.reduce((sum, list) => sum + list.length, special);
    const cut = size > limit && this.truncate ? cutLongest(lists, Math.max(0, limit - special)) : lists;
    return { ...assemble(around, cut), size };
  }

  /** A document among the words around it, special tokens too, in which it alone is cut. */
  filled(document: string, around: (part: string) => string, at: string): Typed {
    const { codec, limit } = this.rules;
    const read = (length: number): number[] => {
      const cut = document.slice(0, length).replace(/[\uD800-\uDBFF]$/, ""); // no half of a character
      return codec.encode(around(cut), false);
    };
    let tokens = read(document.length);
    const { length: size } = tokens;
    if (this.truncate && size > limit) {
      let fits = 0;
      for (let tooLong = document.length; tooLong - fits > 1; ) {
        const tried = Math.floor((fits + tooLong) / 2);
        if (read(tried).length > limit) tooLong = tried;
        else fits = tried;
      }
      tokens = read(fits);
    }
    return this.checked({ tokens, types: tokens.map(() => 0) }, at, size);
  }

  /** Tokens as the caller has made them. */
  tokens(ids: readonly unknown[], at: string): Typed {
    const { limit, vocabSize } = this.rules;
    ids.forEach((id, i) => {
      if (!(Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabSize))
        throw new InvalidRequestError(`${at}[${i}]`, `must be a token's id, from 0 to ${vocabSize - 1}.`);
    });
    const tokens = this.truncate ? ids.slice(0, limit) : [...ids];
    return this.checked({ tokens: tokens as number[], types: tokens.map(() => 0) }, at, ids.length);
  }

  private checked({ tokens, types }: Typed, at: string, size: number): Typed {
    const { limit } = this.rules;
    if (tokens.length > limit)
      throw new ContextLengthError(
        size,
        limit,
        `${at} has ${size} tokens; the model reads at most ${limit}, special tokens counted.`,
        "Shorten it or split it into parts, or ask with truncate: true, which reads its beginning.",
      );
    if (tokens.length === 0) throw new InvalidRequestError(at, "has no tokens.", "Leave it out.");
    this.count += tokens.length;
    return { tokens, types };
  }
}

/** Cuts texts to `room` tokens as Hugging Face's "longest_first" does: of a pair the longer one, and where that is not
 * enough both to one length. */
export function cutLongest(lists: readonly number[][], room: number): number[][] {
  const [first, second] = lists as [number[], number[]?];
  if (!second) return [first.slice(0, room)];
  const half = Math.floor(room / 2);
  const shorter = Math.min(first.length, second.length, half);
  const [a, b] = first.length > second.length ? [room - shorter, shorter] : [shorter, room - shorter];
  return [first.slice(0, a), second.slice(0, b)];
}
