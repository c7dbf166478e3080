// Starts threads for a load, and gives them their jobs. The page's own thread would do all this at a third of the
// speed: it hashes there, and a piece of 64 KB that the page reads from a stream costs it a turn.
import type { Job, Result, Said } from "./job.js";

export type { FileJob, Job, Kept, Place, Result } from "./job.js";

const START_MS = 5000;

export class Thread {
  /** Whether it is asked to fetch. */
  fetches = true;
  private pending: { resolve(done: Done | undefined): void; onBytes(bytes: number): void } | undefined;
  private ended = false;

  private constructor(private readonly worker: Worker) {}

  /** undefined where it cannot be started, or does not begin. */
  static start(): Promise<Thread | undefined> {
    return new Promise((resolve) => {
      let worker: Worker;
      try {
        worker = makeWorker();
      } catch {
        return resolve(undefined);
      }
      const thread = new Thread(worker);
      const timer = setTimeout(() => thread.end(), START_MS);
      thread.pending = {
        resolve: () => {
          clearTimeout(timer);
          resolve(undefined);
        },
        onBytes: () => {},
      };
      worker.onerror = (event) => {
        event.preventDefault(); // the page does the work, and it is no error of the page's
        thread.end();
      };
      worker.onmessage = ({ data }: MessageEvent<Said>) => {
        if (data === "ready") {
          clearTimeout(timer);
          thread.pending = undefined;
          resolve(thread);
        } else if (typeof data === "number") thread.pending?.onBytes(data);
        else {
          const { pending } = thread;
          thread.pending = undefined;
          pending?.resolve(data);
        }
      };
    });
  }

  /** Does a job in `memory`, which the page does not have until it is done. undefined where the thread has ended; the
   * memory is then gone. */
  run(job: Job, memory: ArrayBuffer, onBytes: (bytes: number) => void = () => {}): Promise<Done | undefined> {
    if (this.ended) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.pending = { resolve, onBytes };
      this.worker.postMessage({ ...job, memory }, [memory]);
    });
  }

  end(): void {
    this.ended = true;
    this.worker.terminate();
    this.pending?.resolve(undefined);
  }
}

export interface Done {
  readonly result: Result;
  readonly memory: ArrayBuffer;
}

/** At most so many threads. None where the page may start none, as under a Content-Security-Policy without them. */
export async function startThreads(most: number): Promise<Thread[]> {
  const started = await Promise.all(Array.from({ length: most }, () => Thread.start()));
  return started.filter((thread) => thread !== undefined);
}

function makeWorker(): Worker {
  const url = new URL("./chunk-worker.js", import.meta.url);
  // Bundlers look for just this expression.
  if (url.origin === globalThis.origin)
    return new Worker(new URL("./chunk-worker.js", import.meta.url), { type: "module" });
  // A worker's script must be of the page's origin; what it imports need not.
  const script = URL.createObjectURL(new Blob([`import ${JSON.stringify(url.href)};`], { type: "text/javascript" }));
  const worker = new Worker(script, { type: "module" });
  worker.addEventListener("message", () => URL.revokeObjectURL(script), { once: true });
  return worker;
}
