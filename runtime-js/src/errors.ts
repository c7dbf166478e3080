// Defines a typed error for every failure that a page can act on. Each has a stable `code` and a `hint`, which says in
// one sentence how to go on.

export class MlcwebError extends Error {
  readonly code: string;
  readonly hint: string;
  constructor(code: string, message: string, hint = "", options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
    this.hint = hint;
  }
  /** Plain JSON, for logs and for crossing a worker or an automation boundary. */
  toJSON(): { code: string; message: string; hint: string } {
    return { code: this.code, message: this.message, hint: this.hint };
  }
}

/** This browser, page or machine offers no WebGPU adapter. */
export class NoWebGPUError extends MlcwebError {
  constructor(message: string, hint: string) {
    super("no-webgpu", message, hint);
    this.name = "NoWebGPUError";
  }
}

/** This browser or this page runs no WebAssembly, which every bundle has a part in. */
export class NoWasmError extends MlcwebError {
  /** What the page's Content-Security-Policy lacks; undefined where the browser has no WebAssembly. */
  readonly directive: string | undefined;
  constructor(message: string, hint: string, directive?: string) {
    super("no-wasm", message, hint);
    this.name = "NoWasmError";
    this.directive = directive;
  }
}

/** The adapter lacks a feature or limit that every tier of the bundle needs. */
export class MissingFeatureError extends MlcwebError {
  readonly missing: readonly string[];
  constructor(
    message: string,
    missing: readonly string[],
    hint = "Use a bundle that was compiled with the base tier, or another GPU.",
  ) {
    super("missing-feature", message, hint);
    this.name = "MissingFeatureError";
    this.missing = missing;
  }
}

export class OutOfMemoryError extends MlcwebError {
  constructor(
    message: string,
    hint = "Load with a smaller contextLength, close other tabs, or choose a smaller model.",
    options?: { cause?: unknown },
  ) {
    super("out-of-memory", message, hint, options);
    this.name = "OutOfMemoryError";
  }
}

export class DeviceLostError extends MlcwebError {
  constructor(message: string, hint = "Load the model again.", options?: { cause?: unknown }) {
    super("device-lost", message, hint, options);
    this.name = "DeviceLostError";
  }
}

/** On this device the bundle's kernels compute something else than they must, as the self-check of a load found. */
export class WrongResultsError extends MlcwebError {
  constructor(
    message: string,
    hint = "Update the browser and the graphics driver, or use another device; selfCheck: false loads it all the same.",
  ) {
    super("wrong-results", message, hint);
    this.name = "WrongResultsError";
  }
}

/** The GPU refused a command or computed something that cannot be; the engine or the bundle has a defect. */
export class GpuError extends MlcwebError {
  constructor(message: string, hint = "Load the model again; if it repeats, report the model and the GPU.") {
    super("gpu", message, hint);
    this.name = "GpuError";
  }
}

/** A file's bytes are not those that the manifest promises. */
export class IntegrityError extends MlcwebError {
  readonly file: string;
  /** Where the bytes came from, and both hashes, where they are known; "" where not. */
  readonly url: string;
  readonly expected: string;
  readonly actual: string;
  constructor(
    file: string,
    message: string,
    hint = "The copy on the host is damaged, changed on the way, or another build's: publish the bundle again, and " +
      "look with `mlcweb check-host`.",
    { url = file, expected = "", actual = "" } = {},
  ) {
    super("integrity", message, hint);
    this.name = "IntegrityError";
    this.file = file;
    this.url = url;
    this.expected = expected;
    this.actual = actual;
  }
}

/** The bundle is malformed, incomplete, or of another format version. */
export class BundleError extends MlcwebError {
  constructor(message: string, hint = "Compile and publish the bundle again.", options?: { cause?: unknown }) {
    super("bundle", message, hint, options);
    this.name = "BundleError";
  }
}

export class NetworkError extends MlcwebError {
  /** Seconds that the server asks to wait before the next try. */
  readonly retryAfter: number | undefined;
  constructor(
    message: string,
    hint = "Check the connection and try again; what was downloaded is kept.",
    options?: { cause?: unknown; retryAfter?: number | undefined },
  ) {
    super("network", message, hint, options);
    this.name = "NetworkError";
    this.retryAfter = options?.retryAfter;
  }
}

/** A web page came where a file of the bundle should be. */
export class WebPageError extends MlcwebError {
  readonly file: string;
  /** `came`: what is known of the page. */
  constructor(file: string, came = "") {
    super(
      "web-page",
      `A web page came in place of ${file}${came && ` (${came})`}.`,
      "If this network has a page to log in at, open it. If not, the host has no such file: check the bundle's URL, " +
        "publish every file, and let the host answer 404 for what it has not, and no page.",
    );
    this.name = "WebPageError";
    this.file = file;
  }
}

/** The caller's AbortSignal fired. Its name is AbortError, as that of the browser's own, for code that looks for it;
 * `cause` is the signal's reason. */
export class CancelledError extends MlcwebError {
  constructor(message = "Cancelled.", cause?: unknown) {
    super("cancelled", message, "", { cause: cause ?? new DOMException(message, "AbortError") });
    this.name = "AbortError";
  }
}

export class ContextLengthError extends MlcwebError {
  readonly promptTokens: number;
  readonly contextLength: number;
  constructor(
    promptTokens: number,
    contextLength: number,
    message = `The prompt has ${promptTokens} tokens; with a context of ${contextLength} at most ` +
      `${contextLength - 1} fit.`,
    hint = "Shorten the conversation, or load with a larger contextLength.",
  ) {
    super("context-length", message, hint);
    this.name = "ContextLengthError";
    this.promptTokens = promptTokens;
    this.contextLength = contextLength;
  }
}

export class InvalidRequestError extends MlcwebError {
  readonly param: string;
  constructor(param: string, message: string, hint = "") {
    super("invalid-request", `${param}: ${message}`, hint);
    this.name = "InvalidRequestError";
    this.param = param;
  }
}

/** The model is for something else than what was asked of it: for chats, for embeddings, or for ranking. */
export class WrongModelError extends MlcwebError {
  constructor(model: string, call: string) {
    super(
      "wrong-model",
      `${model} is for engine.${call} alone.`,
      `Call engine.${call}, or load the bundle of another model.`,
    );
    this.name = "WrongModelError";
  }
}

export class UnloadedError extends MlcwebError {
  constructor(message = "This engine has been unloaded.") {
    super("unloaded", message, "Load a model again with Engine.load.");
    this.name = "UnloadedError";
  }
}

/** The worker that the engine runs in is gone, does not answer, or speaks another version. */
export class WorkerError extends MlcwebError {
  constructor(
    message: string,
    hint = "Make a new worker, and load the model again; what was downloaded is kept.",
    options?: { cause?: unknown },
  ) {
    super("worker", message, hint, options);
    this.name = "WorkerError";
  }
}

/** Throws CancelledError when the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new CancelledError("Cancelled.", signal.reason);
}
