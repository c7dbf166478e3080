// Runs a model that reads texts: several calls are begun before the first is done, so that what computes them does not
// wait for the page, and results are taken in order.
import type { Typed } from "../text/post_processor.js";
import { packCalls, type TextCalls, type TextOutput, wordsOf } from "./calls.js";

export interface TextModelParts {
  readonly calls: TextCalls;
  readonly output: TextOutput;
  /** Tokens of a call. */
  readonly callTokens: number;
}

/** Calls at a time: one runs, one waits for it, and one is read back while the next is packed. */
const IN_FLIGHT = 4;

export class TextModel {
  constructor(private readonly parts: TextModelParts) {}

  /** The numbers of each text, in order. `check` hears how many there are, and throws where the work must end. */
  async run(texts: Iterable<Typed>, check: (done: number) => void): Promise<Float32Array[]> {
    const { calls, callTokens, output } = this.parts;
    const rows: Float32Array[] = [];
    const flying: Promise<Float32Array>[] = [];
    const land = async (): Promise<void> => {
      const numbers = await calls.land(flying.shift()!);
      for (let at = 0; at < numbers.length; at += output.width) rows.push(numbers.subarray(at, at + output.width));
      check(rows.length);
    };
    for (const call of packCalls(texts, callTokens)) {
      check(rows.length);
      const started = calls.start(wordsOf(call), output);
      started.catch(() => {}); // who lands it hears of it
      flying.push(started);
      if (flying.length === IN_FLIGHT) await land();
    }
    while (flying.length > 0) await land();
    return rows;
  }
}
