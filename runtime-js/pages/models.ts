// Shows a catalog's models as a list to choose from: what each downloads and needs, and whether it runs here. It is a
// file of its own, which is fetched where the page was given a catalog and no bundle.
import { type ListedModel, listModels } from "mlcweb/catalog";
import { add } from "./dom.js";
import { mebibytes, parametersOf } from "./numbers.js";

/** Fills `list` with the models that answer. A model's link is this page's with the bundle added. Throws what the
 * catalog's reading throws. */
export async function showModels(list: HTMLElement, status: HTMLElement, catalog: string): Promise<void> {
  status.textContent = "Reading the catalog";
  const models = (await listModels(catalog, { contextLength: CONTEXT })).filter(({ task }) => task === undefined);
  list.replaceChildren();
  for (const model of models) addModel(list, model);
  const fit = models.filter(({ fits }) => fits).length;
  status.textContent =
    models.length === 0 ? "The catalog has no models to chat with." : `${fit} of ${models.length} run on this device.`;
}

const CONTEXT = 4096;

function addModel(list: HTMLElement, model: ListedModel): void {
  const { id, fits, why, bytes, memory, licence, parameters, quantization, url, images } = model;
  const item = add(list, "li", fits ? "model" : "model unfit");
  const head = add(item, "div", "model-head");
  const name = fits ? add(head, "a", "model-name", id) : add(head, "span", "model-name", id);
  if (name instanceof HTMLAnchorElement) name.href = linkTo(url);
  add(head, "span", fits ? "badge" : "badge bad", fits ? "runs here" : "does not run here");
  const facts = [
    quantization,
    `${parametersOf(parameters)} parameters`,
    `${mebibytes(bytes)} to download`,
    `${mebibytes(memory)} of GPU memory`,
    ...(images ? ["sees pictures"] : []),
    ...(licence ? [licence] : []),
  ];
  add(item, "p", "quiet", facts.join(" · "));
  if (why) add(item, "p", "why", why);
}

function linkTo(bundle: string): string {
  const query = new URLSearchParams(location.search);
  query.set("bundle", bundle);
  return `?${query}`;
}
