// Makes the exceptions that the specification names, and turns the engine's errors into them.

type WithCause = DOMException & { cause?: unknown };

export function exception(name: string, message: string, cause?: unknown): DOMException {
  const error: WithCause = new DOMException(message, name);
  if (cause !== undefined) Object.defineProperty(error, "cause", { value: cause, configurable: true });
  return error;
}

export const notSupported = (message: string, cause?: unknown): DOMException =>
  exception("NotSupportedError", message, cause);

/** Stands in for the browser's own class, where there is none yet. */
class QuotaExceeded extends DOMException {
  constructor(
    message: string,
    readonly requested: number,
    readonly quota: number,
  ) {
    super(message, "QuotaExceededError");
  }
}

interface QuotaExceededConstructor {
  new (message: string, options: { requested: number; quota: number }): DOMException;
}

/** There is no room for `requested` tokens. */
export function quotaExceeded(requested: number, quota: number): DOMException {
  const message = `The input has ${requested} tokens; the context window has ${quota}.`;
  const Own = (globalThis as { QuotaExceededError?: QuotaExceededConstructor }).QuotaExceededError;
  return Own ? new Own(message, { requested, quota }) : new QuotaExceeded(message, requested, quota);
}

/** The engine's error of the code context-length. */
export function outOfContext(error: unknown): DOMException {
  const { promptTokens = 0, contextLength = 0 } = error as { promptTokens?: number; contextLength?: number };
  return quotaExceeded(promptTokens, contextLength);
}

/** By the codes of the engine's errors; a worker's or another copy of the engine has classes of its own. */
const NAMES: Readonly<Record<string, string>> = {
  cancelled: "AbortError",
  network: "NetworkError",
  "web-page": "NetworkError",
  "no-webgpu": "NotSupportedError",
  "missing-feature": "NotSupportedError",
  unloaded: "InvalidStateError",
};

export const codeOf = (error: unknown): string => String((error as { code?: unknown } | null)?.code ?? "");

/** `otherwise` names what no row is of. Errors that are no engine's, such as a TypeError, stay what they are. */
export function exceptionOf(error: unknown, otherwise: string): unknown {
  const { hint = "", param = "", message } = (error ?? {}) as { hint?: string; param?: string; message?: string };
  const code = codeOf(error);
  if (error instanceof DOMException || !/^[a-z-]+$/.test(code)) return error;
  const refused = code === "invalid-request" && /^(response_format|tools)/.test(param);
  const name = refused ? "NotSupportedError" : (NAMES[code] ?? otherwise);
  return exception(name, hint ? `${message} ${hint}` : String(message), error);
}
