// Stop strings in a stream: text that might be the beginning of one is held back until it is known.

export class StopStrings {
  private held = "";
  private readonly stops: readonly string[];
  constructor(stops: readonly string[]) {
    this.stops = stops.filter((stop) => stop.length > 0);
  }

  /** Adds text; returns what can be shown, and whether a stop string was met (nothing from it on is shown). */
  push(text: string): { text: string; stopped: boolean } {
    this.held += text;
    let at = -1;
    for (const stop of this.stops) {
      const found = this.held.indexOf(stop);
      if (found >= 0 && (at < 0 || found < at)) at = found;
    }
    if (at >= 0) {
      const shown = this.held.slice(0, at);
      this.held = "";
      return { text: shown, stopped: true };
    }
    const keep = Math.max(0, ...this.stops.map((stop) => overlap(this.held, stop)));
    const shown = this.held.slice(0, this.held.length - keep);
    this.held = this.held.slice(this.held.length - keep);
    return { text: shown, stopped: false };
  }

  /** What was held back, when the answer ended otherwise. */
  flush(): string {
    const { held } = this;
    this.held = "";
    return held;
  }
}

/** The length of the longest end of `text` that begins `stop`. */
function overlap(text: string, stop: string): number {
  for (let n = Math.min(text.length, stop.length - 1); n > 0; n--) if (text.endsWith(stop.slice(0, n))) return n;
  return 0;
}
