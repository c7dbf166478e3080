// Reads tokenizer.json as Python's `tokenizers` does: other ids than those that a model was trained on would be a
// silent loss. @huggingface/tokenizers does the work. Where it differs, this file corrects it, each time with a reason.
import {
  ByteFallbackDecoder,
  ByteLevelDecoder,
  MetaspaceDecoder,
  PrecompiledNormalizer,
  SequenceDecoder,
  SequenceNormalizer,
  Tokenizer,
  Unigram,
} from "@huggingface/tokenizers";
import { type AddedToken, AddedTokens } from "./added.js";
import { CharsMap } from "./charsmap.js";
import { rewritePreTokenizer } from "./pre_tokenizer.js";
import { correctUnigram } from "./unigram.js";

type Json = Record<string, unknown>;

/** Stands for the text when the post-processor is asked what it puts around one. */
const TEXT = "\u0000text";

export class TextTokenizer {
  private readonly library: Tokenizer;
  private readonly raw: AddedTokens;
  private readonly normalized: AddedTokens;
  private readonly specials: ReadonlySet<number>;
  /** Tokens that the vocabulary spells as they are written. */
  private readonly added: ReadonlyMap<number, string>;
  /** As tokenizer.json has it. */
  readonly postProcessor: unknown;
  private readonly before: readonly number[];
  private readonly after: readonly number[];

  /** `correct` corrects what only encoders have. Throws an Error when the definition cannot be used. */
  constructor(definition: Json, correct?: (library: never) => void) {
    this.library = new Tokenizer(rewritePreTokenizer(definition), {});
    (correct as ((library: Tokenizer) => void) | undefined)?.(this.library);
    this.postProcessor = definition.post_processor;
    const { normalizer, decoder, model, post_processor: post } = this.library;
    correctNormalizer(normalizer);
    correctDecoder(decoder);
    if (model instanceof Unigram) correctUnigram(model, (definition.model as Json).byte_fallback === true);
    const added = ((definition.added_tokens ?? []) as Json[]).map(readAdded);
    this.added = new Map(added.map(({ id, content }) => [id, content]));
    this.specials = new Set(added.filter((token) => token.special).map((token) => token.id));
    this.raw = new AddedTokens(added.filter((token) => !token.normalized));
    this.normalized = new AddedTokens(
      added.filter((token) => token.normalized),
      (content) => this.normalize(content),
    );
    const around = post ? post.post_process([TEXT], null, true).tokens : [TEXT];
    const at = around.indexOf(TEXT);
    this.before = around.slice(0, at).map((token) => this.id(token));
    this.after = around.slice(at + 1).map((token) => this.id(token));
  }

  /** `addSpecialTokens`: with what the post-processor puts around a text, such as a bos token. */
  encode(text: string, addSpecialTokens: boolean): number[] {
    // Half a surrogate pair has no UTF-8.
    const ids = this.encodeText(text.replace(/\p{Surrogate}/gu, "\uFFFD"));
    return addSpecialTokens ? [...this.before, ...ids, ...this.after] : ids;
  }

  /** Ids that are no token, as a model with a padded vocabulary may sample, have no text. */
  decode(ids: readonly number[], skipSpecialTokens: boolean, shown?: ReadonlyMap<number, string>): string {
    const tokens: string[] = [];
    for (const id of ids) {
      const token =
        skipSpecialTokens && this.specials.has(id) && !shown?.has(id) ? undefined : this.library.id_to_token(id);
      if (token !== undefined) tokens.push(token);
    }
    const { decoder } = this.library;
    return decoder ? decoder.decode(tokens) : tokens.join(" ");
  }

  /** What a token adds to a text in which it is not the first, as bytes, a character for each: a token may be half a
   * character. undefined for an id that is no token. */
  bytes(id: number): { readonly bytes: string; readonly special: boolean } | undefined {
    const token = this.added.get(id) ?? this.library.id_to_token(id);
    if (token === undefined) return undefined;
    const byteLevel = isByteLevel(this.library.decoder);
    const bytes = !byteLevel ? fromPieces(token) : this.added.has(id) ? utf8(token) : fromByteLevel(token);
    return { bytes, special: this.specials.has(id) };
  }

  /** Special tokens whose text is in one of these, and that text. */
  specialsIn(texts: readonly string[]): ReadonlyMap<number, string> {
    const found = [...this.specials].map((id) => [id, this.added.get(id)!] as const);
    return new Map(found.filter(([, content]) => texts.some((text) => text.includes(content))));
  }

  /** The library takes a piece that only after normalization looks like an added token for that token, trims
   * JavaScript's white space instead of Unicode's, and ignores single_word: so text is cut here. */
  private encodeText(text: string): number[] {
    return this.raw.split(text).flatMap((section) => {
      if ("id" in section) return section.id;
      return this.normalized.split(this.normalize(section.text)).flatMap((part) => {
        if ("id" in part) return part.id;
        const { pre_tokenizer: steps, model } = this.library;
        // Metaspace's "first" means the start of the text.
        const index = section.start + part.start === 0 ? 0 : 1;
        const pieces = steps ? steps.pre_tokenize(part.text, { section_index: index }) : [part.text];
        return model!._call(pieces).map((token) => this.id(token));
      });
    });
  }

  private normalize(text: string): string {
    return this.library.normalizer?.normalize(text) ?? text;
  }

  private id(token: string): number {
    const id = this.library.token_to_id(token) ?? this.library.model!.unk_token_id;
    if (id === undefined)
      throw new Error(`The tokenizer has no token for ${JSON.stringify(token)}, and none for unknown ones.`);
    return id;
  }
}

function readAdded(token: Json): AddedToken {
  const special = token.special === true;
  return {
    id: token.id as number,
    content: token.content as string,
    special,
    normalized: (token.normalized as boolean | undefined) ?? !special,
    singleWord: token.single_word === true,
    lstrip: token.lstrip === true,
    rstrip: token.rstrip === true,
  };
}

/** The library approximates every precompiled map by NFKC. */
function correctNormalizer(normalizer: unknown): void {
  if (normalizer instanceof SequenceNormalizer) normalizer.normalizers.forEach(correctNormalizer);
  if (!(normalizer instanceof PrecompiledNormalizer) || !normalizer.charsmap) return;
  const map = new CharsMap(normalizer.charsmap as string);
  normalizer.normalize = (text) => map.normalize(text);
}

function correctDecoder(decoder: unknown): void {
  if (decoder instanceof SequenceDecoder) decoder.decoders.forEach(correctDecoder);
  // A byte order mark is text.
  if (decoder instanceof ByteFallbackDecoder) decoder.text_decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  if (decoder instanceof MetaspaceDecoder) {
    const { replacement } = decoder;
    const keepFirst = (decoder.config as { prepend_scheme?: string }).prepend_scheme === "never";
    decoder.decode_chain = (tokens) =>
      tokens.map((token, i) => token.replaceAll(replacement, i === 0 && !keepFirst ? "" : " "));
  }
}

const isByteLevel = (decoder: unknown): boolean =>
  decoder instanceof ByteLevelDecoder || (decoder instanceof SequenceDecoder && decoder.decoders.some(isByteLevel));

/** A text's UTF-8, a character for each byte. */
function utf8(text: string): string {
  if (/^[\0-\x7f]*$/.test(text)) return text;
  return String.fromCharCode(...new TextEncoder().encode(text));
}

/** The characters that byte-level BPE writes bytes as: printable ones as themselves, the others from U+0100 on. */
const BYTE_LEVEL: ReadonlyMap<string, string> = new Map(
  Array.from({ length: 256 }, (_, byte) => byte).reduce<[string, string][]>((pairs, byte) => {
    const printable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    const others = pairs.filter(([written]) => written > "\u00ff").length;
    pairs.push([String.fromCharCode(printable ? byte : 256 + others), String.fromCharCode(byte)]);
    return pairs;
  }, []),
);

function fromByteLevel(token: string): string {
  let bytes = "";
  for (const written of token) bytes += BYTE_LEVEL.get(written) ?? utf8(written);
  return bytes;
}

/** SentencePiece's: \u2581 is a space, and <0x0A> is a byte. */
function fromPieces(token: string): string {
  const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
  return byte ? String.fromCharCode(Number.parseInt(byte[1]!, 16)) : utf8(token.replaceAll("\u2581", " "));
}
