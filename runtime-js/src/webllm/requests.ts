// Makes the engine's requests of WebLLM's: with the model's defaults, and without what only WebLLM has.
import type { HostExtras } from "../chat/index.js";
import { InvalidRequestError } from "../errors.js";
import { unsupported } from "./errors.js";
import type { Defaults } from "./options.js";

/** A request that asks for one of them does without the model's default for the other. */
const PENALTIES = ["frequency_penalty", "presence_penalty"];

export interface Prepared {
  readonly body: Record<string, unknown>;
  /** Where each step's seconds go, if the request asks for them. */
  readonly times: (NonNullable<HostExtras["times"]> & { penaltyTime: number[] }) | undefined;
}

/** Throws InvalidRequestError for what cannot be honoured. */
export function prepare(request: object, defaults: Defaults): Prepared {
  if (typeof request !== "object" || request === null) throw new InvalidRequestError("request", "must be an object.");
  const { extra_body: extra, ...given } = request as Record<string, unknown> & { extra_body?: object | null };
  const present = Object.fromEntries(Object.entries(given).filter(([, value]) => value != null));
  const body: Record<string, unknown> = { ...defaults, ...present };
  if (body.max_tokens === Infinity) delete body.max_tokens; // as many as there is room for
  const [one, other] = PENALTIES.filter((field) => field in present);
  if (one && !other) for (const field of PENALTIES) if (field !== one) body[field] = 0; // as WebLLM has it
  if (body.ignore_eos === true) delete body.stop; // as WebLLM has it
  if (typeof extra !== "object" || extra === null) return { body: { ...body, extra_body: extra }, times: undefined };
  const { enable_latency_breakdown: breakdown, resumable, ...rest } = extra as Record<string, unknown>;
  refuseResumable(resumable);
  if (Object.values(rest).some((value) => value != null)) body.extra_body = rest;
  if (breakdown != null && typeof breakdown !== "boolean")
    throw new InvalidRequestError("extra_body.enable_latency_breakdown", "must be true or false.");
  return { body, times: breakdown ? noTimes() : undefined };
}

export function refuseResumable(resumable: unknown): void {
  if ((resumable as { enabled?: unknown } | null | undefined)?.enabled)
    throw unsupported("extra_body.resumable", "is not supported: nothing keeps the KV cache on disk.");
}

const noTimes = () => ({
  logitProcessorTime: [],
  logitBiasTime: [],
  penaltyTime: [],
  sampleTime: [],
  totalTime: [],
  grammarBitmaskTime: [],
});
