// Declares what an app configures: models, the engine, and what a model is loaded with.
import type { LoadOptions } from "../../engine/options.js";
import type { InitProgressCallback, LogitProcessor, LogLevel } from "./engine.js";

export enum ModelType {
  LLM = 0,
  embedding = 1,
  VLM = 2,
}

/** A hash as in an HTML integrity attribute, such as `sha256-…`. */
export type SRIString = string;
export type FileIntegrityMap = Record<string, SRIString>;
/** Hashes of MLC's files. A bundle's manifest has its own, which are always checked. */
export interface ModelIntegrity {
  config?: SRIString;
  model_lib?: SRIString;
  tokenizer?: FileIntegrityMap;
  onFailure?: "error" | "warn";
}

/** The keys of MLC's mlc-chat-config.json. */
export interface ChatConfig {
  tokenizer_files: string[];
  tokenizer_info?: { token_postproc_method: string; prepend_space_in_encode: boolean; strip_space_in_decode: boolean };
  token_table_postproc_method?: string;
  vocab_size: number;
  conv_config?: Record<string, unknown>;
  // biome-ignore lint/suspicious/noExplicitAny: what describes a conversation is not read here
  conv_template: any;
  context_window_size: number;
  sliding_window_size: number;
  attention_sink_size: number;
  max_history_size?: number;
  repetition_penalty: number;
  frequency_penalty: number;
  presence_penalty: number;
  top_p: number;
  temperature: number;
  bos_token_id?: number;
  model_type?: string;
  model_config?: Record<string, unknown>;
}
export interface ChatOptions extends Partial<ChatConfig> {}

export interface ModelRecord {
  /** The bundle's URL. A relative one is a folder of `baseUrl`. */
  model: string;
  model_id: string;
  /** Not read: a bundle has its own. */
  model_lib: string;
  overrides?: ChatOptions;
  vram_required_MB?: number;
  low_resource_required?: boolean;
  buffer_size_required_bytes?: number;
  required_features?: string[];
  model_type?: ModelType;
  integrity?: ModelIntegrity;
  model_manifest?: string;
}
export type CacheBackend = "cache" | "indexeddb" | "cross-origin" | "opfs";
export type OPFSAccessMode = "async" | "sync" | "auto";
export interface AppConfig {
  model_list: ModelRecord[];
  cacheBackend?: CacheBackend;
  opfsAccessMode?: OPFSAccessMode;
  /** Of older apps. */
  useIndexedDBCache?: boolean;
  /** The folder of the bundles of records whose `model` is no absolute URL; by default the page's. Not WebLLM's. */
  baseUrl?: string;
}

/** WebLLM's fields, `baseUrl`, and all options of `Engine.load` but `onProgress`. */
export interface MLCEngineConfig extends Omit<LoadOptions, "onProgress"> {
  appConfig?: AppConfig | undefined;
  initProgressCallback?: InitProgressCallback | undefined;
  logitProcessorRegistry?: Map<string, LogitProcessor> | undefined;
  logLevel?: LogLevel | undefined;
  /** The same as `appConfig.baseUrl`, and before it. */
  baseUrl?: string | undefined;
  /** The URL of a catalog, which has the models that `appConfig` has no record of. */
  catalog?: string | undefined;
}

export interface GenerationConfig {
  repetition_penalty?: number | null;
  ignore_eos?: boolean;
  top_p?: number | null;
  temperature?: number | null;
  max_tokens?: number | null;
  frequency_penalty?: number | null;
  presence_penalty?: number | null;
  stop?: string | null | string[];
  n?: number | null;
  logit_bias?: Record<string, number> | null;
  logprobs?: boolean | null;
  top_logprobs?: number | null;
  response_format?: import("../../chat/response_format.js").ResponseFormat | null;
  enable_thinking?: boolean | null;
  enable_latency_breakdown?: boolean | null;
}

/** MLC's own packages, which are not read here: the names are for apps that have them. */
export interface ModelPackageManifest {
  schema: "mlc.model-package";
  schema_version: 1;
  chat_config: "mlc-chat-config.json";
  interface_id: string;
  weights: { manifest: "tensor-cache.json"; parameter_schema_id: string };
  tasks: Record<string, { executor: string; inputs: Record<string, unknown>; output: string }>;
}
export interface CompiledProgramArtifact {
  schema: "mlc.compiled-program";
  schema_version: 1;
  interface_id: string;
  parameter_schema_id: string;
  programs: Record<
    string,
    {
      kind: string;
      exports: Record<string, string>;
      adapters: Record<string, string>;
      adapter_dtypes: Record<string, string>;
    }
  >;
  resources: {
    required_features: string[];
    max_storage_buffer_binding_size: number;
    estimated_device_memory_bytes: number;
  };
}
