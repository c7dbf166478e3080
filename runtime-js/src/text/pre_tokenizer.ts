// Rewrites tokenizer.json's pre-tokenizer in terms that @huggingface/tokenizers gets right. That library differs from
// Python's `tokenizers`, whose ids a model was trained on: its \s and \d are JavaScript's, digits are ASCII's, and it
// ignores most behaviours of a step. Its Split step with the behaviour Isolated is exact, so every step becomes one of
// those.
import { BundleError } from "../errors.js";

type Json = Record<string, unknown>;
interface Pattern {
  readonly String?: string;
  readonly Regex?: string;
}

const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const MARKS = "\\p{P}!-\\/:-@\\[-`{-~";

/** The definition with its pre-tokenizer rewritten. Throws BundleError for a behaviour that is not known. */
export function rewritePreTokenizer(definition: Json): Json {
  const step = definition.pre_tokenizer as Json | null | undefined;
  return { ...definition, pre_tokenizer: step ? rewriteStep(step) : null };
}

function rewriteStep(step: Json): Json {
  switch (step.type) {
    case "Sequence":
      return { ...step, pretokenizers: (step.pretokenizers as Json[]).map(rewriteStep) };
    case "ByteLevel":
      if (step.use_regex === false || step.add_prefix_space !== false) return step;
      return sequence(isolated(GPT2), { ...step, use_regex: false });
    case "Digits":
      return isolated(step.individual_digits ? "\\p{N}" : "\\p{N}+");
    case "Punctuation":
      return split(`[${MARKS}]`, behaviour(step, "Isolated"));
    case "Whitespace":
      return matches("\\w+|[^\\w\\s]+");
    case "BertPreTokenizer":
      return matches(`[^\\s${MARKS}]+|[${MARKS}]`);
    case "WhitespaceSplit":
      return split("\\s+", "Removed");
    case "Metaspace":
      return rewriteMetaspace(step);
    case "Split":
      return rewriteSplit(step);
    default:
      return step;
  }
}

function rewriteMetaspace(step: Json): Json {
  const replacement = (step.replacement as string | undefined) ?? "▁";
  const scheme = (step.prepend_scheme as string | undefined) ?? (step.add_prefix_space === false ? "never" : "always");
  const spaces = { type: "Metaspace", replacement, prepend_scheme: scheme };
  return step.split === false ? spaces : sequence(spaces, split(escaped(replacement), "MergedWithNext"));
}

function rewriteSplit(step: Json): Json {
  const { Regex, String: text } = step.pattern as Pattern;
  const regex = Regex === undefined ? escaped(text ?? "") : foldLikeOniguruma(Regex);
  const kind = behaviour(step, "Isolated");
  if (!step.invert || kind === "Isolated") return split(regex, kind);
  if (kind === "Removed") return matches(regex);
  throw new BundleError(`The tokenizer splits by a pattern that is inverted and ${kind}, which is not supported.`);
}

/** What a behaviour makes of the pieces between and beside matches, as a pattern whose matches are the pieces. */
function split(regex: string, kind: string): Json {
  const other = `(?:(?!${regex})[\\s\\S])`;
  switch (kind) {
    case "Isolated":
      return isolated(regex);
    case "Contiguous":
      return isolated(`(?:${regex})+`);
    case "MergedWithPrevious":
      return isolated(`${other}*(?:${regex})`);
    case "MergedWithNext":
      return isolated(`(?:${regex})${other}*`);
    case "Removed":
      return { type: "Split", pattern: { Regex: regex }, behavior: "Removed", invert: false };
    default:
      throw new BundleError(`The tokenizer splits text in a way that is not known: ${kind}.`);
  }
}

/** tokenizers admits both "MergedWithNext" and "merged_with_next". */
function behaviour(step: Json, fallback: string): string {
  const name = (step.behavior as string | undefined) ?? fallback;
  return name
    .split("_")
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join("");
}

/** Without regard to case, Oniguruma takes ſ for s: `(?i:'s|'t|…)`, as Llama 3 and its descendants have it. */
function foldLikeOniguruma(regex: string): string {
  return regex.replaceAll("(?i:'s|", "(?i:'[sſ]|");
}

const isolated = (regex: string): Json => ({
  type: "Split",
  pattern: { Regex: regex },
  behavior: "Isolated",
  invert: false,
});
/** Only what matches is kept. */
const matches = (regex: string): Json => ({
  type: "Split",
  pattern: { Regex: regex },
  behavior: "Removed",
  invert: true,
});
const sequence = (...pretokenizers: Json[]): Json => ({ type: "Sequence", pretokenizers });
const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
