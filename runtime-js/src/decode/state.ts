// Makes the words of the shared buffer `state` that the CPU writes.
import { State } from "../contract/index.js";

/** A step of `advance` tokens after `position` others; decode's input is `token`, and `step` tokens were sampled.
 * `shift` is added to the position to get RoPE's. */
export function stateWords(
  position: number,
  token: number,
  advance: number,
  step = 0,
  shift = 0,
): Int32Array<ArrayBuffer> {
  const words = new Int32Array(State.words);
  words[State.position] = position;
  words[State.token] = token;
  words[State.advance] = advance;
  words[State.step] = step;
  words[State.shift] = shift;
  return words;
}
