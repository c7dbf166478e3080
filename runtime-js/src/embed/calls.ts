// Packs texts into calls. A call has texts side by side without padding, so that it costs what its tokens cost: sorting
// texts by their length would make no call cheaper, and the first call could not begin before the last text is read.
import { Place } from "../contract/generated/constants.js";
import type { Typed } from "../text/post_processor.js";

/** Texts in their order: `most` tokens and texts a call, or a longer text alone. */
export function* packCalls(texts: Iterable<Typed>, most: number): Generator<Typed[], void, void> {
  let call: Typed[] = [],
    size = 0;
  for (const text of texts) {
    const { length } = text.tokens;
    if (call.length > 0 && (size + length > most || call.length === most)) {
      yield call;
      call = [];
      size = 0;
    }
    call.push(text);
    size += length;
  }
  if (call.length > 0) yield call;
}

/** What a call writes into the shared buffers of these names. */
export interface TextWords {
  readonly tokens: Int32Array<ArrayBuffer>;
  readonly places: Int32Array<ArrayBuffer>;
  readonly texts: Int32Array<ArrayBuffer>;
}

/** The buffer of results, and how many numbers a text has there. */
export interface TextOutput {
  readonly name: string;
  readonly width: number;
}

/** What computes calls: a GPU, or a CPU's threads. */
export interface TextCalls {
  /** Begins a call, behind those that were begun before; gives the numbers of its texts, one text after the other. */
  start(words: TextWords, output: TextOutput): Promise<Float32Array>;
  /** Waits for one that was begun. Rejects with a typed error where a number is none. */
  land(started: Promise<Float32Array>): Promise<Float32Array>;
}

export function wordsOf(call: readonly Typed[]): TextWords {
  const count = call.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const tokens = new Int32Array(count),
    places = new Int32Array(Place.words * count),
    texts = new Int32Array(call.length);
  let at = 0;
  for (const [i, text] of call.entries()) {
    const first = at,
      end = first + text.tokens.length;
    texts[i] = first;
    tokens.set(text.tokens, first);
    for (; at < end; at++) {
      const place = Place.words * at;
      places[place + Place.begin] = first;
      places[place + Place.end] = end;
      places[place + Place.position] = at - first;
      places[place + Place.kind] = text.types[at - first]!;
    }
  }
  return { tokens, places, texts };
}
