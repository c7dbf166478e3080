// Reads tokenizer.json's post-processor: which special tokens stand around a text, or around two, and the type id of
// each token. The library knows a special token by its name alone, and joins RoBERTa's pairs with too few.
import { BundleError } from "../errors.js";

type Json = Record<string, unknown>;
/** Special tokens, or the tokens of the first text or the second, and their type id. */
type Item = readonly [what: readonly number[] | 0 | 1, type: number];

/** What stands around one text, and around two. */
export interface Around {
  readonly one: readonly Item[];
  readonly two: readonly Item[];
}
/** Tokens, and the type id of each. */
export interface Typed {
  readonly tokens: number[];
  readonly types: number[];
}

const PLAIN: Around = { one: [[0, 0]], two: [[0, 0], [1, 1]] }; // biome-ignore format: one line

/** Throws BundleError for a kind that is not known, and an Error for a malformed one. */
export function readPostProcessor(step: Json | null | undefined): Around {
  switch (step?.type) {
    case undefined:
    case "ByteLevel": // it moves offsets alone
      return PLAIN;
    case "TemplateProcessing":
      return { one: readTemplate(step, step.single), two: readTemplate(step, step.pair) };
    case "BertProcessing":
      return readFixed(step, (cls, sep) => [
        [cls, 0],
        [0, 0],
        [sep, 0],
        [1, 1],
        [sep, 1],
      ]);
    case "RobertaProcessing":
      return readFixed(step, (cls, sep) => [
        [cls, 0],
        [0, 0],
        [sep, 0],
        [sep, 0],
        [1, 0],
        [sep, 0],
      ]);
    case "Sequence": {
      const steps = (step.processors as Json[]).map(readPostProcessor).filter((one) => one !== PLAIN);
      if (steps.length < 2) return steps[0] ?? PLAIN;
      throw new BundleError("The tokenizer adds special tokens in two steps, which is not supported.");
    }
    default:
      throw new BundleError(`The tokenizer has a post-processor that is not known: ${step?.type}.`);
  }
}

function readTemplate({ special_tokens }: Json, items: unknown): Item[] {
  type Named = { readonly id: string; readonly type_id: number };
  type Piece = { readonly SpecialToken: Named } | { readonly Sequence: Named };
  const specials = special_tokens as Record<string, { readonly ids: number[] }>;
  return (items as Piece[]).map((piece) =>
    "Sequence" in piece
      ? [piece.Sequence.id === "A" ? 0 : 1, piece.Sequence.type_id]
      : [specials[piece.SpecialToken.id]!.ids, piece.SpecialToken.type_id],
  );
}

/** `cls` and `sep` are each a token and its id; the first three of `two` stand around one text. */
function readFixed({ cls, sep }: Json, pair: (cls: readonly number[], sep: readonly number[]) => Item[]): Around {
  const id = (token: unknown): number[] => [(token as [string, number])[1]];
  const two = pair(id(cls), id(sep));
  return { one: two.slice(0, 3), two };
}

/** Puts texts, as tokens, in their places. */
export function assemble({ one, two }: Around, texts: readonly (readonly number[])[]): Typed {
  const tokens: number[] = [],
    types: number[] = [];
  for (const [what, type] of texts.length > 1 ? two : one)
    for (const token of typeof what === "number" ? texts[what]! : what) {
      tokens.push(token);
      types.push(type);
    }
  return { tokens, types };
}
