// A bundle's tokenizer and chat template, made from its two files.
import { Tokenizer } from "@huggingface/tokenizers";
import { BundleError } from "../errors.js";
import { ChatTemplate } from "./template.js";

export interface ChatTurn { readonly role: string; readonly content: string }

export class TextCodec {
  private constructor(private readonly tokenizer: Tokenizer, readonly template: ChatTemplate) {}

  static parse(tokenizerJson: string, configJson: string): TextCodec {
    try {
      const config = JSON.parse(configJson) as Record<string, unknown>;
      return new TextCodec(new Tokenizer(JSON.parse(tokenizerJson) as object, config), new ChatTemplate(config));
    } catch (cause) {
      if (cause instanceof BundleError) throw cause;
      throw new BundleError(`The tokenizer cannot be read: ${(cause as Error).message}`, undefined, { cause });
    }
  }

  encode(text: string, addSpecialTokens: boolean): number[] {
    return this.tokenizer.encode(text, { add_special_tokens: addSpecialTokens }).ids;
  }

  /** A chat rendered by the template, which writes the special tokens itself. */
  encodeChat(messages: readonly ChatTurn[]): number[] {
    return this.encode(this.template.render(messages), false);
  }

  decode(tokens: number[]): string {
    return tokens.length === 0 ? "" : this.tokenizer.decode(tokens, { skip_special_tokens: true, clean_up_tokenization_spaces: false });
  }

  /** A single token, as log-probabilities report it. */
  token(id: number): string {
    return this.tokenizer.decode([id], { skip_special_tokens: false, clean_up_tokenization_spaces: false });
  }
}
