// Keeps the state that recurrent layers have beside the KV cache. A state cannot forget its last tokens, so copies of
// it are kept: going back takes the nearest copy before, and the tokens after that are fed again.
import { RECURRENT_COPIES } from "../contract/index.js";

/** Copies where answers begin, and copies inside of the answer; each kind takes turns. */
const SLOTS = { answer: 2, step: RECURRENT_COPIES - 2 } as const;
/** Steps from one copy to the next: so many tokens at most, and those in flight, are fed again. */
export const STEPS_APART = 64;

type Kind = keyof typeof SLOTS;
interface Copy {
  position: number;
  /** Its number, below RECURRENT_COPIES. */
  readonly slot: number;
}

/** Where the state and its copies are. Each call takes effect after what was asked for before. */
export interface Copies<Encoder> {
  /** Copies the state, in the submission that is being encoded, if there is one. */
  keep(slot: number, encoder?: Encoder): void;
  bringBack(slot: number): void;
}

export class Recurrent<Encoder = void> {
  /** Tokens that the state has seen when what is submitted has run. */
  private at = 0;
  private readonly slots: Record<Kind, Copy[]> = {
    answer: Array.from({ length: SLOTS.answer }, (_, i) => ({ position: 0, slot: i })),
    step: Array.from({ length: SLOTS.step }, (_, i) => ({ position: 0, slot: SLOTS.answer + i })),
  };

  constructor(private readonly copies: Copies<Encoder>) {}

  private get all(): Copy[] {
    return [...this.slots.answer, ...this.slots.step];
  }

  /** Notes that tokens up to `position` were fed. */
  fed(position: number): void {
    this.at = position;
  }

  /** Goes back to at most so many tokens, and returns how many the state has seen then. At 0 it is as good as new. */
  rewind(position: number): number {
    for (const copy of this.all) if (copy.position > position) copy.position = 0; // of tokens that are forgotten
    if (this.at <= position) return this.at;
    const nearest = this.all.reduce((best, copy) => (copy.position > best.position ? copy : best));
    this.at = nearest.position;
    if (this.at > 0) this.copies.bringBack(nearest.slot);
    return this.at;
  }

  /** Keeps a copy of the state as it is now, where an answer begins. */
  mark(): void {
    if (this.at === 0 || this.slots.answer.some((copy) => copy.position === this.at)) return;
    this.keep("answer");
  }

  /** Notes that `count` steps were encoded, and keeps a copy after some. */
  stepped(count: number, encoder?: Encoder): void {
    this.at += count;
    const last = Math.max(...this.all.map((copy) => copy.position));
    if (this.at >= last + STEPS_APART) this.keep("step", encoder);
  }

  private keep(kind: Kind, encoder?: Encoder): void {
    const oldest = this.slots[kind].reduce((old, copy) => (copy.position < old.position ? copy : old));
    oldest.position = this.at;
    this.copies.keep(oldest.slot, encoder);
  }
}
