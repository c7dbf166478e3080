// Chooses the bundle of a model for this device.
import { InvalidRequestError, MissingFeatureError } from "../errors.js";
import { type ListedModel, type ListOptions, listModels } from "./list.js";

export interface ChooseOptions extends ListOptions {
  /** A quantization's name; by default that of the smallest download, but not of three bits, nor of four where the
   * model makes embeddings. */
  readonly quantization?: string | undefined;
}

/** The bundle of a model's name for this device. The name is a bundle's id, or its model's with or without what stands
 * before its slash; WebLLM's ids are bundles' ids with `-MLC` after them. Of several bundles of the model that fit, it
 * is the one that downloads least; three bits are taken where there is nothing else, and four in embeddings. Throws
 * InvalidRequestError for a model that the catalog has not, and MissingFeatureError for one that does not fit. */
export async function chooseModel(
  catalogUrl: string,
  model: string,
  options: ChooseOptions = {},
): Promise<ListedModel> {
  const nearest = await nearestModel(catalogUrl, model, options);
  if (nearest.fits) return nearest;
  throw new MissingFeatureError(`${model} does not run here: ${nearest.why}`, nearest.missing);
}

/** The same, and a bundle of the model that does not fit where none does. */
export async function nearestModel(
  catalogUrl: string,
  model: string,
  { quantization, ...options }: ChooseOptions = {},
): Promise<ListedModel> {
  const all = await listModels(catalogUrl, options);
  const named = all.filter((listed) => isNamed(listed, model));
  if (named.length === 0)
    throw new InvalidRequestError("model", `is ${JSON.stringify(model)}, which the catalog has not.`, nearby(all));
  const wanted = named.filter((listed) => quantization === undefined || listed.quantization === quantization);
  if (wanted.length === 0) {
    const there = [...new Set(named.map((listed) => listed.quantization))].join(", ");
    throw new InvalidRequestError("quantization", `is ${quantization}; the catalog has ${model} in ${there}.`);
  }
  const fitting = wanted.filter(({ fits }) => fits);
  const chosen = fitting.find(({ quantization, task }) => !(task ? /^q[34]/ : /^q3/).test(quantization)) ?? fitting[0];
  return chosen ?? wanted[0]!;
}

function isNamed({ id, model }: ListedModel, name: string): boolean {
  const lower = name.toLowerCase();
  const bundle = id.toLowerCase(),
    source = model.toLowerCase();
  return (
    [bundle, source, source.replace(/^.*\//, "")].includes(lower) || lower.replace(/-mlc(-1k|-b\d+)?$/, "") === bundle
  );
}

/** A hint with the catalog's models, at most ten. */
function nearby(all: readonly ListedModel[]): string {
  const names = [...new Set(all.map(({ model }) => model))];
  return names.length === 0
    ? "The catalog is empty."
    : `It has ${names.slice(0, 10).join(", ")}${names.length > 10 ? ", and more" : ""}.`;
}
