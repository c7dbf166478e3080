// Finds stop strings in a stream. It holds back text that might be the beginning of one until it is known.

export class StopStrings {
  private pending = "";
  private readonly stops: readonly string[];
  constructor(stops: readonly string[]) {
    this.stops = stops.filter((stop) => stop.length > 0);
  }

  /** Adds text; returns what can be shown, and whether a stop string was met (nothing from it on is shown). */
  push(text: string): { text: string; stopped: boolean } {
    this.pending += text;
    let at = -1;
    for (const stop of this.stops) {
      const start = this.pending.indexOf(stop);
      if (start >= 0 && (at < 0 || start < at)) at = start;
    }
    if (at >= 0) {
      const shown = this.pending.slice(0, at);
      this.pending = "";
      return { text: shown, stopped: true };
    }
    const keep = Math.max(0, ...this.stops.map((stop) => overlap(this.pending, stop)));
    const shown = this.pending.slice(0, this.pending.length - keep);
    this.pending = this.pending.slice(this.pending.length - keep);
    return { text: shown, stopped: false };
  }

  /** What was held back, when the answer ended otherwise. */
  flush(): string {
    const { pending } = this;
    this.pending = "";
    return pending;
  }
}

/** The length of the longest end of `text` that begins `stop`. */
function overlap(text: string, stop: string): number {
  for (let n = Math.min(text.length, stop.length - 1); n > 0; n--) if (text.endsWith(stop.slice(0, n))) return n;
  return 0;
}
