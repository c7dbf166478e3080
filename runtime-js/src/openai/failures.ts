// Turns what went wrong into the answer that OpenAI's clients understand: a status, and {error: {message, type, param,
// code}}.

/** What the door itself refuses. */
export class HttpFailure extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly param: string | null = null,
    readonly code: string | null = null,
    readonly headers: Record<string, string> = {},
  ) {
    super(message);
  }
}

/** A parameter that is not as it must be, in the words of InvalidRequestError. */
export const refuse = (param: string, message: string): HttpFailure =>
  new HttpFailure(400, `${param}: ${message}`, param, "invalid-request");

export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

/** The engine's errors, by their code. A worker's or another copy of the engine has classes of its own. */
const STATUS: Readonly<Record<string, number>> = {
  "invalid-request": 400,
  "context-length": 400,
  "wrong-model": 400,
  cancelled: 499,
  "device-lost": 503,
  unloaded: 503,
  "out-of-memory": 503,
};
/** Codes that clients look for. */
const CODES: Readonly<Record<string, string>> = { "context-length": "context_length_exceeded" };

export function statusOf(error: unknown): number {
  if (error instanceof HttpFailure) return error.status;
  return STATUS[fieldOf(error, "code") ?? ""] ?? 500;
}

export function bodyOf(error: unknown): ErrorBody {
  const code = fieldOf(error, "code");
  const hint = fieldOf(error, "hint");
  const message = error instanceof Error ? error.message : String(error);
  const status = statusOf(error);
  return {
    error: {
      message: hint ? `${message} ${hint}` : message,
      type: status < 500 ? "invalid_request_error" : "server_error",
      param: fieldOf(error, "param") ?? null,
      code: (code && CODES[code]) ?? code ?? null,
    },
  };
}

export const answerFor = (error: unknown): Response =>
  Response.json(bodyOf(error), {
    status: statusOf(error),
    headers: error instanceof HttpFailure ? error.headers : {},
  });

function fieldOf(error: unknown, name: string): string | undefined {
  const value = typeof error === "object" && error !== null ? (error as Record<string, unknown>)[name] : undefined;
  return typeof value === "string" && value !== "" ? value : undefined;
}
