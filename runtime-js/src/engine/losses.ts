// Tells the failures that another load mends from others.
import { DeviceLostError, type MlcwebError, WorkerError } from "../errors.js";

/** Whether the model may run on another device, or in another worker. */
export const isLoss = (error: unknown): error is MlcwebError =>
  error instanceof DeviceLostError || error instanceof WorkerError;

/** The failure, and why nothing was loaded after it. */
export function giveUp(failure: MlcwebError, cause: MlcwebError, why = cause.message): MlcwebError {
  const Kind = failure.constructor as typeof DeviceLostError;
  return new Kind(`${failure.message} The model was not loaded again: ${why}`, failure.hint, { cause });
}
