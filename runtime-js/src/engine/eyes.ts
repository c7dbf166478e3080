// Lets a model that sees pictures see those of a request: the rows that its tower makes take the places of the prompt's
// row tokens. What reads pictures is fetched with the first of them.
import type { Manifest } from "../bundle/index.js";
import { MissingFeatureError } from "../errors.js";
import type { ImagesCode } from "../images/code.js";
import { type ImageFacts, shapeOf, sizeOf, within } from "../images/facts.js";
import type { Picture } from "../images/read.js";
import type { Answering } from "./held.js";
import { fetchCode } from "./late_code.js";
import type { LoadOptions } from "./options.js";

export class Eyes {
  private fetched: Promise<ImagesCode> | undefined;
  private facts: ImageFacts | undefined;

  /** `given` is the code, where it cannot be fetched. */
  constructor(private readonly given: LoadOptions["images"]) {}

  /** What reads pictures. Rejects with MissingFeatureError where the model sees none on its tier. */
  async code({ model }: Pick<Answering, "model">): Promise<ImagesCode> {
    if (!model.images)
      throw new MissingFeatureError(
        "Without WebGPU the model sees no pictures.",
        ["WebGPU"],
        "Send text alone, or open the page in a browser with WebGPU.",
      );
    const { given } = this;
    this.fetched ??= fetchCode(
      given ? Promise.resolve(given) : import("../images/index.js"),
      "What reads pictures",
      "images",
    ).then(
      (module) => module.code as ImagesCode,
      (error) => {
        this.fetched = undefined; // the next picture fetches it again
        throw error;
      },
    );
    return this.fetched;
  }

  /** What pictures become, if the model sees any; the same object each time, by which they are remembered. */
  seeing({ manifest, contextLength }: Pick<Answering, "manifest" | "contextLength">): ImageFacts | undefined {
    this.facts ??= manifest.images && within(manifest.images, contextLength);
    return this.facts;
  }

  /** The prompt with the tokens of the pictures' rows. */
  async see(
    loaded: Answering,
    prompt: readonly number[],
    pictures: readonly Picture[],
    signal: AbortSignal | undefined,
  ): Promise<number[]> {
    const { patchesOf } = await this.code(loaded);
    const { model, manifest, codec } = loaded;
    const facts = manifest.images!;
    const seen = await model.images!.see(
      pictures.map(({ key, tiles, size }) => ({
        key,
        tiles: tiles.length,
        shape: shapeOf(sizeOf(facts, size), facts),
        patches: (i) => patchesOf(tiles[i]!, facts, size),
      })),
      signal,
    );
    return placed(prompt, rowToken(codec, facts), seen);
  }
}

/** The id of the token that stands for a row. */
const rowToken = (codec: Pick<Answering["codec"], "encode">, { row }: NonNullable<Manifest["images"]>): number =>
  codec.encode(row, false)[0]!;

/** The prompt, in which one of `seen` is in the place of each `row`. */
function placed(prompt: readonly number[], row: number, seen: readonly number[]): number[] {
  let at = 0;
  return prompt.map((token) => (token === row ? seen[at++]! : token));
}
