// Says what of a model is kept in the browser, and forgets it, by the model's id.
import { deleteFromCache, isInCache } from "../index.js";
import { baseOf, prebuiltAppConfig } from "./config.js";
import { Place } from "./locate.js";
import type { AppConfig } from "./types/config.js";

/** Throws ModelNotFoundError for an id that `appConfig` has no record of. */
const urlOf = (modelId: string, appConfig: AppConfig): string =>
  new Place(baseOf(appConfig)).find(modelId, appConfig, appConfig !== prebuiltAppConfig).url;

// A bundle's manifest is what WebLLM calls a chat config, and its plans, kernels and model.wasm are the library.
const isConfig = (file: string): boolean => file === "mlcweb.json";
const isLibrary = (file: string): boolean => /\.(wasm|wgsl)$|^plan\.|^choice\//.test(file);

/** Whether all is kept that the next load needs. */
export async function hasModelInCache(modelId: string, appConfig: AppConfig = prebuiltAppConfig): Promise<boolean> {
  return isInCache(urlOf(modelId, appConfig));
}
export async function deleteModelAllInfoInCache(modelId: string, appConfig = prebuiltAppConfig): Promise<void> {
  await deleteFromCache(urlOf(modelId, appConfig));
}
/** Weights and tokenizer. */
export async function deleteModelInCache(modelId: string, appConfig = prebuiltAppConfig): Promise<void> {
  await deleteFromCache(urlOf(modelId, appConfig), (file) => !isConfig(file) && !isLibrary(file));
}
export async function deleteChatConfigInCache(modelId: string, appConfig = prebuiltAppConfig): Promise<void> {
  await deleteFromCache(urlOf(modelId, appConfig), isConfig);
}
export async function deleteModelWasmInCache(modelId: string, appConfig = prebuiltAppConfig): Promise<void> {
  await deleteFromCache(urlOf(modelId, appConfig), isLibrary);
}
