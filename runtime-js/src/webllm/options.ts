// Decides what a model is loaded with, and what its requests get that do not ask: by the app's configuration, the
// model's record and `chatOpts`. What cannot be honoured is said.
import type { SamplingRequest } from "../chat/index.js";
import type { LoadOptions } from "../engine/options.js";
import type { Located } from "./locate.js";
import type { Notes } from "./log.js";
import type { AppConfig, ChatOptions, MLCEngineConfig, ModelRecord } from "./types/config.js";

const SAMPLING = ["temperature", "top_p", "repetition_penalty", "frequency_penalty", "presence_penalty"] as const;
const TEMPLATE = "the bundle has the model's own chat template and tokenizer.";
/** Why fields have no effect. */
const UNUSED: Readonly<Record<string, string>> = {
  conv_template: TEMPLATE,
  conv_config: TEMPLATE,
  tokenizer_files: TEMPLATE,
  tokenizer_info: TEMPLATE,
  token_table_postproc_method: TEMPLATE,
  bos_token_id: TEMPLATE,
  vocab_size: "the bundle has the model's own.",
  model_type: "the bundle has the model's own.",
  model_config: "the bundle has the model's own.",
  max_history_size: "the KV cache keeps the whole conversation.",
  sliding_window_size: "a model has the windows that it was trained with.",
  attention_sink_size: "a model has the windows that it was trained with.",
};
const LOAD_FIELDS: Readonly<Record<keyof MLCEngineConfig, true>> = {
  onWarning: true,
  signal: true,
  tier: true,
  activations: true,
  contextLength: true,
  firstTokens: true,
  selfCheck: true,
  recover: true,
  cache: true,
  verify: true,
  threads: true,
  depth: true,
  powerPreference: true,
  profile: true,
  debug: true,
  fetch: true,
  constrain: true,
  embed: true,
  images: true,
  appConfig: true,
  initProgressCallback: true,
  logitProcessorRegistry: true,
  logLevel: true,
  baseUrl: true,
  catalog: true,
};

export type Defaults = Pick<SamplingRequest, (typeof SAMPLING)[number]>;
export interface Chosen {
  readonly contextLength?: number;
  readonly defaults: Defaults;
}

/** Of a model: `chatOpts` go before the app's own options, and those before the record's overrides. */
export function chosen(
  { record, ...located }: Located,
  chatOpts: ChatOptions = {},
  options: LoadOptions,
  notes: Notes,
): Chosen {
  const given: Record<string, unknown> = { ...present(record?.overrides), ...present(chatOpts) };
  const defaults: Record<string, unknown> = {};
  const windows = [chatOpts.context_window_size, options.contextLength, record?.overrides?.context_window_size];
  const contextLength = windows.find((tokens) => tokens != null && tokens > 0) ?? located.contextLength;
  for (const [field, value] of Object.entries(given)) {
    if ((SAMPLING as readonly string[]).includes(field)) defaults[field] = value;
    else if (field !== "context_window_size" && !off(field, value))
      notes.unused(field, UNUSED[field] ?? "it is not known here.");
  }
  if (record) noteRecord(record, notes);
  return { ...(contextLength !== undefined && { contextLength }), defaults: defaults as Defaults };
}

/** The options of `Engine.load` in the app's configuration. */
export function loadOptions(config: MLCEngineConfig, notes: Notes): LoadOptions {
  for (const [field, value] of Object.entries(config))
    if (value !== undefined && !Object.hasOwn(LOAD_FIELDS, field)) notes.unused(field, "no engine has this option.");
  const {
    appConfig: _a,
    initProgressCallback: _p,
    logitProcessorRegistry: _r,
    logLevel: _l,
    baseUrl: _b,
    catalog: _c,
    ...options
  } = config;
  return options;
}

export function noteApp(config: AppConfig, notes: Notes): void {
  const { cacheBackend = "cache" } = config;
  const kept = "weights are kept as files, all else in the Cache API.";
  if (cacheBackend !== "cache") notes.unused("cacheBackend", kept);
  if (config.opfsAccessMode) notes.unused("opfsAccessMode", kept);
  if (config.useIndexedDBCache) notes.unused("useIndexedDBCache", kept);
}

function noteRecord({ integrity, model_manifest: manifest, model_type: type }: ModelRecord, notes: Notes): void {
  if (integrity) notes.unused("integrity", "a bundle's manifest has the sha256 of every file, which is checked.");
  if (manifest) notes.unused("model_manifest", "a bundle has a manifest of its own.");
  if (type) notes.unused("model_type", "every bundle is a language model of text.");
}

/** Windows of -1 or 0 tokens are none. */
const off = (field: string, value: unknown): boolean =>
  (field === "sliding_window_size" || field === "attention_sink_size") && (value as number) <= 0;

function present(options: object = {}): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value != null));
}
