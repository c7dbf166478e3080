// Gives errors the names by which apps know WebLLM's. They stay mlcweb's: each has a code and a hint.
import {
  ContextLengthError,
  InvalidRequestError,
  MissingFeatureError,
  type MlcwebError,
  NoWebGPUError,
  UnloadedError,
  WrongModelError,
} from "../errors.js";

function named<T extends MlcwebError>(name: string, error: T): T {
  error.name = name;
  return error;
}

/** The same error, by WebLLM's name where it has one. */
export function renamed(error: unknown): unknown {
  if (error instanceof ContextLengthError) return named("ContextWindowSizeExceededError", error);
  if (error instanceof WrongModelError) return named("IncorrectPipelineLoadedError", error);
  if (error instanceof NoWebGPUError) return named("WebGPUNotAvailableError", error);
  if (!(error instanceof MissingFeatureError)) return error;
  return named(error.missing.includes("shader-f16") ? "ShaderF16SupportError" : "FeatureSupportError", error);
}

export const modelNotFound = (id: string): InvalidRequestError =>
  named(
    "ModelNotFoundError",
    new InvalidRequestError(
      "modelId",
      `no model is called ${JSON.stringify(id)} in appConfig.model_list.`,
      "Add a record with that model_id, or give the bundle's URL.",
    ),
  );

export const sizesDiffer = (models: number, options: number): InvalidRequestError =>
  named(
    "ReloadArgumentSizeUnmatchedError",
    new InvalidRequestError("chatOpts", `has ${options} entries for ${models} models.`),
  );

export const modelTwice = (ids: readonly string[]): InvalidRequestError =>
  named("ReloadModelIdNotUniqueError", new InvalidRequestError("modelId", `has a model twice: ${ids.join(", ")}.`));

const HINT = "Call engine.reload(model), or CreateMLCEngine(model), first.";

export function notLoaded(request: string): UnloadedError {
  return named("ModelNotLoadedError", new UnloadedError(`No model is loaded, which ${request} needs. ${HINT}`));
}

export const unclearModel = (loaded: readonly string[], request: string): InvalidRequestError =>
  named(
    "UnclearModelToUseError",
    new InvalidRequestError("model", `${request} must say which: ${loaded.join(", ")} are loaded.`),
  );

export const otherModel = (loaded: readonly string[], asked: string, request: string): InvalidRequestError =>
  named(
    "SpecifiedModelNotFoundError",
    new InvalidRequestError("model", `${request} asks for ${asked}, and ${loaded.join(", ")} is loaded.`, HINT),
  );

/** Of a request for embeddings of nothing. */
export const noInput = (): InvalidRequestError =>
  named("EmbeddingInputEmptyError", new InvalidRequestError("input", "has no texts."));

/** Of an engine in a worker, before its first load. */
export const neverLoaded = (): UnloadedError =>
  named("WorkerEngineModelNotLoadedError", new UnloadedError(`The engine in the worker has loaded no model. ${HINT}`));

/** What WebLLM has and mlcweb has not. */
export const unsupported = (field: string, why: string): InvalidRequestError =>
  named("UnsupportedFieldsError", new InvalidRequestError(field, why));
