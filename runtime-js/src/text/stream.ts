// Decodes tokens to text as they come. A token may end inside a character (byte-level BPE, byte fallback), and its text
// may depend on the token before (leading spaces). So a window of tokens is decoded, and only its new text is shown.
export type Decode = (tokens: number[]) => string;

const REPLACEMENT = "\uFFFD";
/** How many tokens of the text before are decoded with what continues it: enough that one of them has text. */
const BEFORE = 8;

export class StreamDecoder {
  private tokens: number[] = [];
  /** tokens[..context] were shown; they stay in the window only for their effect on the next. */
  private context = 0;
  private contextText = "";
  private shown = 0;

  /** `before` are the tokens that the text continues. Without them its first space may be stripped, as at a text's
   * start. */
  constructor(
    private readonly decode: Decode,
    before: readonly number[] = [],
  ) {
    this.tokens = before.slice(-BEFORE);
    this.context = this.tokens.length;
    this.contextText = this.decode(this.tokens);
  }

  /** The new text that is certain; empty while a character is incomplete. */
  push(token: number): string {
    this.tokens.push(token);
    const fresh = this.fresh();
    const whole = trimIncomplete(fresh);
    const text = whole.slice(this.shown);
    this.shown = Math.max(this.shown, whole.length);
    if (whole.length === fresh.length && fresh.length > 0) this.slide();
    return text;
  }

  /** The rest, with replacement characters where the bytes never became a character. */
  flush(): string {
    const text = this.fresh().slice(this.shown);
    this.tokens = [];
    this.context = this.shown = 0;
    this.contextText = "";
    return text;
  }

  private fresh(): string {
    return this.decode(this.tokens).slice(this.contextText.length);
  }

  private slide(): void {
    this.tokens = this.tokens.slice(this.context);
    this.context = this.tokens.length;
    this.contextText = this.decode(this.tokens);
    this.shown = 0;
  }
}

function trimIncomplete(text: string): string {
  let end = text.length;
  while (end > 0 && text[end - 1] === REPLACEMENT) end--;
  return text.slice(0, end);
}
