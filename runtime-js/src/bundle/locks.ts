// Lets one of several tabs, or loads, do what all of them need.
import { throwIfAborted } from "../errors.js";

/** Runs `work` while nobody else holds the lock; at once where there are no locks, as in a page of no origin. Throws
 * CancelledError when the signal fires while it waits. */
export async function alone(name: string, signal: AbortSignal | undefined, work: () => Promise<void>): Promise<void> {
  let began = false;
  const begin = (): Promise<void> => {
    began = true;
    return work();
  };
  try {
    await navigator.locks.request(name, signal ? { signal } : {}, begin);
  } catch (error) {
    if (began) throw error;
    throwIfAborted(signal);
    await work();
  }
}
