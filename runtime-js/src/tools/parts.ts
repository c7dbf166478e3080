// Collects what an answer's text turned out to be: words, reasoning and tool calls.

/** What is new of a tool call. Its first has `id` and `name`. */
export interface CallDelta {
  readonly index: number;
  readonly id?: string;
  readonly name?: string;
  arguments: string;
}
export interface Parts {
  readonly content: string;
  readonly reasoning: string;
  readonly calls: readonly CallDelta[];
}

export class Collector {
  private readonly content = new Trimmed(false);
  private readonly thought = new Trimmed(true);
  private fresh = { content: "", reasoning: "", calls: [] as CallDelta[] };
  /** Tool calls that have begun. */
  calls = 0;

  say(text: string): void {
    this.fresh.content += this.content.push(text);
  }
  think(text: string): void {
    this.fresh.reasoning += this.thought.push(text);
  }
  /** What was reasoning has ended: white space after it is nothing. */
  thoughtEnded(): void {
    this.content.skip();
  }
  open(name: string): void {
    this.content.skip();
    this.fresh.calls.push({ index: this.calls++, id: callId(), name, arguments: "" });
  }
  argue(text: string): void {
    const index = this.calls - 1;
    const last = this.fresh.calls.at(-1);
    if (last?.index === index) last.arguments += text;
    else if (text) this.fresh.calls.push({ index, arguments: text });
  }
  /** The answer has ended: white space at its end is its words'. */
  end(): void {
    if (this.calls === 0) this.fresh.content += this.content.rest();
  }
  /** What came since the last call. */
  taken(): Parts {
    const { fresh } = this;
    this.fresh = { content: "", reasoning: "", calls: [] };
    return fresh;
  }
}

/** Text without the white space that markers may follow, and that which follows a marker. */
class Trimmed {
  private blank = "";
  private said = false;
  constructor(private atStart: boolean) {}
  push(text: string): string {
    const whole = this.atStart ? text.trimStart() : this.blank + text;
    if (whole === "") return "";
    this.atStart = false;
    const shown = whole.trimEnd();
    this.said ||= shown !== "";
    this.blank = whole.slice(shown.length);
    return shown;
  }
  /** What comes before the first words is nothing. */
  skip(): void {
    if (this.said) return;
    this.atStart = true;
    this.blank = "";
  }
  rest(): string {
    return this.blank;
  }
}

/** Nine letters and digits: Mistral's templates refuse other ids. */
function callId(): string {
  const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  return Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => letters[byte % letters.length]).join("");
}
