// Corrects the library's Unigram model to Python's `tokenizers`. The library compares sums after it has rounded one
// term further, so that it breaks near ties otherwise. It also joins unknown characters across words, and knows no byte
// fallback.
import type { Unigram } from "@huggingface/tokenizers";

interface Step {
  readonly score: number;
  readonly from: number;
  readonly unknown: boolean;
}

/** Makes `model` cut words into pieces as the reference does. */
export function correctUnigram(model: Unigram, byteFallback: boolean): void {
  const encoder = new TextEncoder();
  const ids = model.tokens_to_ids;
  const spell = (unknown: string): string[] => {
    if (!byteFallback) return [unknown];
    const bytes = Array.from(
      encoder.encode(unknown),
      (byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
    );
    return bytes.every((byte) => ids.has(byte)) ? bytes : [unknown];
  };
  model.fuse_unk = false;
  model.encode = (words) =>
    words.flatMap((word) =>
      bestPieces(model, Array.from(word)).flatMap((piece) => (ids.has(piece) ? [piece] : spell(piece))),
    );
}

/** The pieces of the best sum of scores, and the first of equal ones. Unknown characters side by side are one piece. */
function bestPieces(model: Unigram, characters: string[]): string[] {
  const best: (Step | undefined)[] = new Array<Step | undefined>(characters.length + 1);
  const reach = (to: number, score: number, from: number, unknown: boolean): void => {
    const known = best[to];
    if (!known || score > known.score) best[to] = { score, from, unknown };
  };
  for (let at = 0; at < characters.length; at++) {
    const sum = best[at]?.score ?? 0;
    let single = false;
    for (const piece of model.trie.common_prefix_search(characters, at)) {
      const length = Array.from(piece).length;
      reach(at + length, sum + model.scores[model.tokens_to_ids.get(piece)!]!, at, false);
      single ||= length === 1;
    }
    if (!single) reach(at + 1, sum + model.unk_score, at, true);
  }
  const pieces: string[] = [];
  let joins = false;
  for (let to = characters.length; to > 0; ) {
    const { from, unknown } = best[to]!;
    const piece = characters.slice(from, to).join("");
    if (unknown && joins) pieces.push(piece + pieces.pop()!);
    else pieces.push(piece);
    joins = unknown;
    to = from;
  }
  return pieces.reverse();
}
