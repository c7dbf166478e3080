// Makes a bundle's tokenizer and chat template from its two files.
import { BundleError } from "../errors.js";
import { ChatTemplate, type ChatTurn, type RenderOptions } from "./template.js";
import { TextTokenizer } from "./tokenizer.js";

export class TextCodec {
  /** Tokens with some text, and their text: a token after them keeps its space. */
  private readonly anchor: { readonly tokens: readonly number[]; readonly text: string };

  private constructor(
    private readonly tokenizer: TextTokenizer,
    readonly template: ChatTemplate,
  ) {
    const tokens = tokenizer.encode("a", false);
    this.anchor = { tokens, text: tokenizer.decode(tokens, false) };
  }

  /** `correct`: of encoders' tokenizers, what encoders.ts has. */
  static parse(
    tokenizerJson: string,
    configJson: string,
    correct?: ConstructorParameters<typeof TextTokenizer>[1],
  ): TextCodec {
    try {
      const config = JSON.parse(configJson) as Record<string, unknown>;
      return new TextCodec(
        new TextTokenizer(JSON.parse(tokenizerJson) as Record<string, unknown>, correct),
        new ChatTemplate(config),
      );
    } catch (cause) {
      if (cause instanceof BundleError) throw cause;
      throw new BundleError(`The tokenizer cannot be read: ${(cause as Error).message}`, undefined, { cause });
    }
  }

  encode(text: string, addSpecialTokens: boolean): number[] {
    return this.tokenizer.encode(text, addSpecialTokens);
  }

  /** As tokenizer.json has it. */
  get postProcessor(): unknown {
    return this.tokenizer.postProcessor;
  }

  /** A chat rendered by the template, which writes the special tokens itself. */
  encodeChat(messages: readonly ChatTurn[], options: RenderOptions = {}): number[] {
    return this.encodeRendered(this.template.render(messages, options));
  }
  encodeRendered(text: string): number[] {
    return this.encode(text, !this.template.exists);
  }

  /** Without special tokens, but for those of `shown`. */
  decode(tokens: readonly number[], shown?: ReadonlyMap<number, string>): string {
    return this.tokenizer.decode(tokens, true, shown);
  }

  /** Special tokens whose text is in one of these, and that text. */
  specialsIn(texts: readonly string[]): ReadonlyMap<number, string> {
    return this.tokenizer.specialsIn(texts);
  }

  /** What a token adds to a text, as bytes, a character for each; undefined for an id that is no token. */
  bytes(id: number): { readonly bytes: string; readonly special: boolean } | undefined {
    return this.tokenizer.bytes(id);
  }

  /** A single token, as log-probabilities report it, with the space that it begins with. */
  token(id: number): string {
    return this.tokenizer.decode([...this.anchor.tokens, id], false).slice(this.anchor.text.length);
  }
}
