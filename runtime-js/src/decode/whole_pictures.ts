// Prefills pictures whose rows see one another: each in one chunk, in which a row sees up to its picture's last.
import { InvalidRequestError } from "../errors.js";

/** Where a chunk of at most `most` of a prompt's tokens ends, which begins at `from`: before a picture that it would
 * cut. Throws InvalidRequestError for a picture that is longer than a chunk. */
export function wholeChunk(prompt: readonly number[], from: number, most: number): number {
  let end = from + most;
  while (end > from && prompt[end - 1]! < 0 && prompt[end]! < 0) end--;
  if (end === from)
    throw new InvalidRequestError(
      "prompt",
      `has more than ${most} rows of pictures side by side, which must be in one chunk.`,
      "Put a text between two pictures.",
    );
  return end;
}

/** Up to which place of the KV cache each token of a chunk at a position sees. */
export function endsOf(tokens: readonly number[], position: number): Int32Array<ArrayBuffer> {
  const ends = new Int32Array(tokens.length);
  for (let i = tokens.length - 1; i >= 0; i--)
    ends[i] = tokens[i]! < 0 && tokens[i + 1]! < 0 ? ends[i + 1]! : position + i + 1;
  return ends;
}
