// Finds a model by a catalog; what reads catalogs is fetched when a page first asks for one.
import type { ChooseOptions } from "../catalog/index.js";
import { InvalidRequestError } from "../errors.js";
import { fetchCode } from "./late_code.js";

/** A model of a catalog, in place of a bundle's URL. */
export interface CataloguedModel {
  /** The URL of catalog.json, or of its folder. */
  readonly catalog: string;
  /** A model's name, or a bundle's. */
  readonly model: string;
  /** By default the smallest download that this device can run, and that is not of three bits. */
  readonly quantization?: string | undefined;
}

/** The URL of the bundle that suits this device; with `anyway`, of one that does not where none does. Its fragment has
 * the manifest's hash, for a warning where a CDN keeps an old copy. */
export async function findInCatalog(
  { catalog, model, quantization }: CataloguedModel,
  options: Omit<ChooseOptions, "quantization">,
  anyway = false,
): Promise<string> {
  for (const [name, value] of Object.entries({ catalog, model }))
    if (typeof value !== "string" || value === "") throw new InvalidRequestError(name, "must be a text.");
  const { chooseModel, nearestModel } = await fetchCode(
    import("../catalog/index.js"),
    "What reads catalogs",
    "catalog",
    "give it a bundle's URL.",
  );
  const choose = anyway ? nearestModel : chooseModel;
  const { url, manifest_sha256 } = await choose(catalog, model, { ...options, quantization });
  return `${url}#sha256=${manifest_sha256}`;
}
