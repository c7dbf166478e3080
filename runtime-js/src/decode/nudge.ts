// Shortens the wait for a read-back. Chromium looks whether the GPU is done when a command comes, and else only every
// few milliseconds, which is longer than a fast model's step. Empty submissions make it look.

/** Time between two empty submissions, and how long a wait may last until there are no more. */
const EVERY_MS = 0.25,
  MOST_MS = 6;

/** Submits nothing, again and again, until the promise is settled, or the wait is a long one. */
export async function nudgeUntil<T>(queue: Pick<GPUQueue, "submit">, promise: Promise<T>): Promise<T> {
  const { port1, port2 } = new MessageChannel();
  const began = performance.now();
  let last = began;
  port1.onmessage = () => {
    const now = performance.now();
    if (now - began > MOST_MS) return;
    if (now - last >= EVERY_MS) {
      last = now;
      try {
        queue.submit([]);
      } catch {
        return; // the device is gone, which the promise tells
      }
    }
    port2.postMessage(0);
  };
  port2.postMessage(0);
  try {
    return await promise;
  } finally {
    port1.close();
  }
}
