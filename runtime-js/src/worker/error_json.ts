// Takes an error apart into plain JSON, and puts it together again on the other side: the same class, code, hint and
// fields.
import * as errors from "../errors.js";

export interface ErrorJson {
  /** The name under which errors.ts exports the class, or the name of JavaScript's own. */
  readonly type: string;
  readonly name: string;
  readonly message: string;
  readonly stack?: string | undefined;
  readonly code?: string | undefined;
  readonly hint?: string | undefined;
  /** What the class adds, such as `param` or `retryAfter`. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly cause?: ErrorJson | undefined;
}

const { MlcwebError } = errors;
type MlcwebClass = typeof MlcwebError;
const OWN = new Map<string, MlcwebClass>(
  Object.entries(errors).filter(
    (entry): entry is [string, MlcwebClass] =>
      entry[1] === MlcwebError || (entry[1] as MlcwebClass).prototype instanceof MlcwebError,
  ),
);
const PLAIN: Record<string, ErrorConstructor> = { TypeError, RangeError, SyntaxError, ReferenceError, URIError };
const DEEPEST_CAUSE = 4;

export function errorToJson(error: unknown, depth = 0): ErrorJson {
  if (!(error instanceof Error || error instanceof DOMException))
    return { type: "Error", name: "Error", message: String(error), fields: {} };
  const own = [...OWN].find(([, made]) => error.constructor === made)?.[0];
  const { cause } = error as { cause?: unknown };
  const mine = error instanceof MlcwebError;
  return {
    type: own ?? (mine ? "MlcwebError" : error instanceof DOMException ? "DOMException" : error.constructor.name),
    name: error.name,
    message: error.message,
    stack: error.stack,
    ...(mine && { code: error.code, hint: error.hint }),
    fields: fieldsOf(error),
    ...(cause != null && depth < DEEPEST_CAUSE && { cause: errorToJson(cause, depth + 1) }),
  };
}

/** `cause` replaces the one that crossed, where this side knows better. */
export function errorFromJson(json: ErrorJson, cause?: unknown): Error {
  const { type, message, code, hint } = json;
  if (type === "DOMException") return new DOMException(message, json.name);
  const options = cause !== undefined ? { cause } : json.cause && { cause: errorFromJson(json.cause) };
  const made = OWN.get(type);
  const error = made
    ? Object.setPrototypeOf(new MlcwebError(String(code), message, hint, options), made.prototype)
    : new ((Object.hasOwn(PLAIN, type) && PLAIN[type]) || Error)(message, options);
  Object.assign(error, json.fields, { name: json.name });
  if (typeof json.stack === "string") Object.defineProperty(error, "stack", { value: json.stack, configurable: true });
  return error as Error;
}

function fieldsOf(error: object): Record<string, unknown> {
  const known = ["name", "message", "stack", "code", "hint", "cause"];
  return Object.fromEntries(
    Object.entries(error).filter(([key, value]) => !known.includes(key) && isPlain(value)),
  ) as Record<string, unknown>;
}

const isPlain = (value: unknown): boolean =>
  Array.isArray(value) ? value.every(isPlain) : ["string", "number", "boolean", "undefined"].includes(typeof value);

/** Why a signal fired, as far as it can cross. */
export function reasonToJson(reason: unknown): unknown {
  return reason instanceof Error || reason instanceof DOMException
    ? { error: errorToJson(reason) }
    : { value: isPlain(reason) ? reason : String(reason) };
}

export function reasonFromJson(json: unknown): unknown {
  const { error, value } = (json ?? {}) as { error?: ErrorJson; value?: unknown };
  return error ? errorFromJson(error) : value;
}
