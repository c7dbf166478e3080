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

/** What a call writes into the shared buffers `tokens`, `places` and `texts`. */
export function wordsOf(call: readonly Typed[]): {
  tokens: Int32Array<ArrayBuffer>;
  places: Int32Array<ArrayBuffer>;
  texts: Int32Array<ArrayBuffer>;
} {
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
