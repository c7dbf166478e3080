// Lists the models that have WebLLM's ids, and the constants that apps build records with.
import { VERSION } from "../contract/generated/constants.js";
import { MODELS } from "./generated/models.js";
import type { AppConfig, ModelRecord } from "./types/config.js";

/** The version of bundles, in the place of that of MLC's libraries; apps take it apart. */
export const modelVersion = `v${VERSION}/base`;
/** A URL, since apps parse those that they make of it. Nothing is fetched from it: a bundle has its own library. */
export const modelLibURLPrefix = "https://unused.invalid/";

export const MODEL_PACKAGE_MANIFEST_FILENAME = "mlc-model-manifest.json";
export const TENSOR_CACHE_MANIFEST_FILENAME = "tensor-cache.json";
export const ARTIFACT_SCHEMA_VERSION = 1;

/** Models up to this size run on devices with little memory, such as telephones. */
const LOW_RESOURCE_MB = 2048;
/** Larger tensors are in pieces of the size that every WebGPU binds. */
const BINDING_BYTES = 134217728;

/** WebLLM's ids that there is a recipe for. A record's `model` is a folder of `baseUrl`. */
export const prebuiltAppConfig: AppConfig = {
  cacheBackend: "cache",
  model_list: MODELS.map(([id, megabytes, context]): ModelRecord => {
    const bundle = id.replace(/-MLC(-1k|-b\d+)?$/, "");
    return {
      model: bundle,
      model_id: id,
      model_lib: `${modelLibURLPrefix}${modelVersion}/${bundle}.wasm`,
      vram_required_MB: megabytes,
      low_resource_required: megabytes <= LOW_RESOURCE_MB,
      buffer_size_required_bytes: BINDING_BYTES,
      // Every bundle has a tier without float16.
      required_features: [],
      overrides: { context_window_size: context },
    };
  }),
};

/** Where an app says that bundles are: for its list, or once for all. */
export const baseOf = ({ baseUrl }: AppConfig): string | undefined => baseUrl ?? prebuiltAppConfig.baseUrl;

/** Models whose templates know of tools, by WebLLM's list. Tools work with every model here. */
export const functionCallingModelIds: string[] = [
  "Hermes-2-Pro-Llama-3-8B-q4f16_1-MLC",
  "Hermes-2-Pro-Llama-3-8B-q4f32_1-MLC",
  "Hermes-2-Pro-Mistral-7B-q4f16_1-MLC",
  "Hermes-3-Llama-3.1-8B-q4f32_1-MLC",
  "Hermes-3-Llama-3.1-8B-q4f16_1-MLC",
];
