// Says where tokens are for a RoPE that turns by several axes. A picture's rows are at one time, and as far below and
// beside each other as they lie; what follows is after the largest of these places
// (https://arxiv.org/abs/2409.12191). So RoPE's position and the KV cache's part with the first picture.
import { Axes as Word } from "../contract/index.js";

/** A row of a picture: which of its rows, and how many rows lie below and beside each other. */
export interface RowPlace {
  readonly index: number;
  readonly lines: number;
  readonly columns: number;
}
interface Span {
  /** Its first token in the KV cache, and RoPE's position there. */
  readonly start: number;
  readonly base: number;
  /** What is added to positions after it. */
  readonly shift: number;
}

export class Axes {
  /** The pictures that were fed, in order. */
  private spans: Span[] = [];

  /** `placeOf` says which row a token below 0 stands for. */
  constructor(private readonly placeOf: (token: number) => RowPlace) {}

  /** What is added to the position of a token after those fed last. */
  get shift(): number {
    return this.spans.at(-1)?.shift ?? 0;
  }

  /** The words of tokens that are fed at a position of the KV cache, where those after it are forgotten. */
  feed(tokens: readonly number[], position: number): Int32Array<ArrayBuffer> {
    this.spans = this.spans.filter(({ start }) => start < position);
    const words = new Int32Array(Word.words * tokens.length);
    tokens.forEach((token, i) => {
      const at = position + i;
      const [time, line, column] = token < 0 ? this.ofRow(this.placeOf(token), at) : this.ofText(at);
      words[Word.words * i + Word.time] = time;
      words[Word.words * i + Word.line] = line;
      words[Word.words * i + Word.column] = column;
    });
    return words;
  }

  private ofText(at: number): [number, number, number] {
    const place = at + this.shift;
    return [place, place, place];
  }

  private ofRow({ index, lines, columns }: RowPlace, at: number): [number, number, number] {
    const start = at - index;
    let span = this.spans.at(-1);
    if (span?.start !== start) {
      const base = start + this.shift;
      span = { start, base, shift: base + Math.max(lines, columns) - (start + lines * columns) };
      this.spans.push(span);
    }
    const { base } = span;
    return [base, base + Math.floor(index / columns), base + (index % columns)];
  }
}
