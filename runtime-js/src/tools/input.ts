// Gives parsers an answer's text as it comes. A parser is a generator: it yields when it needs text that has not come
// yet, and is resumed when there is more, or when the answer has ended.

export type Parser<T> = Generator<undefined, T, undefined>;

export class Input {
  text = "";
  /** Where the parser is. Setting it back reads again. */
  at = 0;
  ended = false;

  /** The character that is next; undefined at the answer's end. */
  *peek(): Parser<string | undefined> {
    while (this.at >= this.text.length) {
      if (this.ended) return undefined;
      yield;
    }
    return this.text[this.at];
  }

  /** Takes `text` where it comes next. */
  *take(text: string): Parser<boolean> {
    while (!this.ended && text.length > this.text.length - this.at) {
      if (!text.startsWith(this.text.slice(this.at))) return false;
      yield;
    }
    if (!this.text.startsWith(text, this.at)) return false;
    this.at += text.length;
    return true;
  }

  /** Takes the parts of a marker, with whatever white space the model put between them. */
  *takeMarker(parts: readonly string[]): Parser<boolean> {
    const start = this.at;
    for (const part of parts) {
      yield* this.skip(/\s/);
      if (yield* this.take(part)) continue;
      this.at = start;
      return false;
    }
    return true;
  }

  /** Takes characters of a kind. */
  *skip(kind: RegExp): Parser<string> {
    const start = this.at;
    for (;;) {
      const next = yield* this.peek();
      if (next === undefined || !kind.test(next)) return this.text.slice(start, this.at);
      this.at++;
    }
  }

  /** Hands `out` the text before the first of `ends` as soon as it is certain, and stops there. Returns which it was;
   * -1 at the answer's end. */
  *until(ends: readonly string[], out: (text: string) => void): Parser<number> {
    for (;;) {
      const { text, at } = this;
      let found = -1;
      let stop = text.length;
      ends.forEach((end, i) => {
        const index = text.indexOf(end, at);
        if (index >= 0 && index < stop) [found, stop] = [i, index];
      });
      if (found < 0 && !this.ended) stop -= Math.max(0, ...ends.map((end) => overlap(text, at, end)));
      if (stop > at) out(text.slice(at, stop));
      this.at = stop;
      if (found >= 0 || this.ended) return found;
      yield;
    }
  }
}

/** How many characters at the end of `text`, from `start` on, begin `marker`. */
function overlap(text: string, start: number, marker: string): number {
  for (let n = Math.min(text.length - start, marker.length - 1); n > 0; n--)
    if (text.endsWith(marker.slice(0, n))) return n;
  return 0;
}

/** A marker's parts, between which white space may vary. */
export const partsOf = (marker: string | undefined): string[] => (marker?.trim() ? marker.trim().split(/\s+/) : []);
