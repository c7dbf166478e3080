// This folder is WebLLM's API over the engine: the names of npm's @mlc-ai/web-llm 0.2.86, so that an app switches by
// what its import resolves to. docs/webllm.md says what differs.
export { IntegrityError } from "../index.js";
export {
  deleteChatConfigInCache,
  deleteModelAllInfoInCache,
  deleteModelInCache,
  deleteModelWasmInCache,
  hasModelInCache,
} from "./cache.js";
export {
  ChatCompletionRequestUnsupportedFields,
  postInitAndCheckFieldsChatCompletion,
  postInitAndCheckFieldsCompletion,
  postInitAndCheckFieldsEmbedding,
  rejectCompletionResumable,
} from "./checks.js";
export {
  ARTIFACT_SCHEMA_VERSION,
  functionCallingModelIds,
  MODEL_PACKAGE_MANIFEST_FILENAME,
  modelLibURLPrefix,
  modelVersion,
  prebuiltAppConfig,
  TENSOR_CACHE_MANIFEST_FILENAME,
} from "./config.js";
export { CreateMLCEngine, MLCEngine } from "./engine.js";
export { isValidSRI, verifyIntegrity } from "./integrity.js";
export { Chat, Completions, Embeddings } from "./openai.js";
export {
  type AppConfig,
  type ChatOptions,
  type CompiledProgramArtifact,
  type FileIntegrityMap,
  type GenerationConfig,
  type MLCEngineConfig,
  type ModelIntegrity,
  type ModelPackageManifest,
  type ModelRecord,
  ModelType,
  type OPFSAccessMode,
  type SRIString,
} from "./types/config.js";
export type {
  InitProgressCallback,
  InitProgressReport,
  LogitProcessor,
  LogLevel,
  MLCEngineInterface,
} from "./types/engine.js";
export type * from "./types/messages.js";
export type * from "./types/openai.js";
export type * from "./types/resumable.js";
export {
  CreateExtensionServiceWorkerMLCEngine,
  ExtensionServiceWorkerMLCEngine,
  ExtensionServiceWorkerMLCEngineHandler,
} from "./worker/extension.js";
export { WebWorkerMLCEngineHandler } from "./worker/handler.js";
export { CreateWebWorkerMLCEngine, WebWorkerMLCEngine } from "./worker/page.js";
export {
  CreateServiceWorkerMLCEngine,
  ServiceWorkerMLCEngine,
  ServiceWorkerMLCEngineHandler,
} from "./worker/service.js";
