// Lets one of several tabs, or loads, do what all of them need.
import { CancelledError } from "../errors.js";

/** Runs `work` while nobody else holds the lock; at once where there are no locks, as in a page of no origin. Throws
 * CancelledError when the signal fires while it waits. */
export async function alone<T>(name: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  let began = false;
  try {
    const held = async (): Promise<T> => {
      began = true;
      return await work();
    };
    const locks = globalThis.navigator?.locks;
    return locks ? await locks.request(name, signal ? { signal } : {}, held) : await work();
  } catch (error) {
    if (began || !globalThis.navigator?.locks) throw error;
    if (signal?.aborted) throw new CancelledError("The download was cancelled.", signal.reason);
    return work();
  }
}
