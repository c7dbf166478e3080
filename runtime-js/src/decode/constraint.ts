// Declares what a constraint on an answer tells the decode loop. The folder constrain makes them; tests make their own.

export interface Constraint {
  /** Which tokens may come next: bit t % 32 of word t / 32 is token t's. Valid until the next call. */
  mask(): Int32Array<ArrayBuffer>;
  /** Takes the token that came. */
  accept(token: number): void;
  /** Takes the tokens that alone can come next, and returns them: none where there is a choice. They end with a stop
   * token where the answer is complete and nothing may follow. */
  force(): readonly number[];
}

export const allows = (mask: Int32Array, token: number): boolean => ((mask[token >> 5]! >>> (token & 31)) & 1) === 1;

/** Takes all chance from the tokens that a mask forbids. */
export function forbid(logits: Float32Array, mask: Int32Array): void {
  for (let token = 0; token < logits.length; token++) if (!allows(mask, token)) logits[token] = -Infinity;
}
