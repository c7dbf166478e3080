// Corrects the library's pieces that only encoders have, BERT's, to Python's `tokenizers`. Its normalizer misses
// ideographs beyond U+FFFF, and lowercases a sigma by its place in a word. Its WordPiece joins characters for each try.
import type { Tokenizer, WordPiece } from "@huggingface/tokenizers";

type Step = NonNullable<Tokenizer["normalizer"]>;
interface BertFlags {
  readonly clean_text?: boolean;
  readonly handle_chinese_chars?: boolean;
  readonly strip_accents?: boolean | null;
  readonly lowercase?: boolean;
}

/** Control characters but tab and line ends, formats, private ones, and U+FFFD. */
const UNCLEAN = /(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}\uFFFD]/gu;
const IDEOGRAPH = new RegExp(
  "[\\u4E00-\\u9FFF\\u3400-\\u4DBF\\uF900-\\uFAFF\\u{20000}-\\u{2A6DF}\\u{2A700}-\\u{2B81F}" +
    "\\u{2B920}-\\u{2CEAF}\\u{2F800}-\\u{2FA1F}]",
  "gu",
);

export function correctEncoder({ normalizer, model }: Tokenizer): void {
  if (normalizer) correctNormalizer(normalizer);
  if (model && "max_input_chars_per_word" in model) correctWordPiece(model as WordPiece);
}

const kindOf = (step: { config: object }): unknown => (step.config as { type?: unknown }).type;

function correctNormalizer(step: Step): void {
  if (kindOf(step) === "Sequence") (step as unknown as { normalizers: Step[] }).normalizers.forEach(correctNormalizer);
  if (kindOf(step) === "Lowercase") step.normalize = lower;
  if (kindOf(step) !== "BertNormalizer") return;
  const { clean_text, handle_chinese_chars, lowercase, strip_accents } = step.config as BertFlags;
  step.normalize = (text) => {
    if (/^[ -~]*$/.test(text)) return lowercase ? text.toLowerCase() : text;
    if (clean_text) text = text.replace(UNCLEAN, "").replace(/\p{White_Space}/gu, " ");
    if (handle_chinese_chars) text = text.replace(IDEOGRAPH, " $& ");
    if (strip_accents ?? lowercase) text = text.normalize("NFD").replace(/\p{Mn}/gu, "");
    return lowercase ? lower(text) : text;
  };
}

/** Each character by itself, as Rust does it: JavaScript writes a sigma that ends a word in another way. */
const lower = (text: string): string => text.replaceAll("Σ", "σ").toLowerCase();

/** Makes `model` cut words into the longest pieces first. */
function correctWordPiece(model: WordPiece): void {
  const { tokens_to_ids: ids, max_input_chars_per_word: most } = model;
  const prefix = (model.config as { continuing_subword_prefix?: string }).continuing_subword_prefix ?? "##";
  const unknown = [model.unk_token!];
  let longest = 0;
  for (const token of ids.keys()) longest = Math.max(longest, token.length);
  const cut = (word: string): string[] => {
    if (word.length > most && Array.from(word).length > most) return unknown;
    const pieces: string[] = [];
    for (let start = 0, end = 0; start < word.length; start = end) {
      let piece: string | undefined;
      for (end = Math.min(word.length, start + longest); end > start; end--) {
        const tried = (start > 0 ? prefix : "") + word.slice(start, end);
        if (!ids.has(tried)) continue;
        piece = tried;
        break;
      }
      if (piece === undefined) return unknown;
      pieces.push(piece);
    }
    return pieces;
  };
  model.encode = (words) => words.flatMap(cut);
}
