// Starts carriers, workers that bring a load's weights, and gives them their jobs. The page's own thread would do all
// this at a third of the speed: it would hash there, and a piece of 64 KB that it reads from a stream costs it a turn.
import type { Reading } from "../bundle/reading.js";
import { keyOf } from "../bundle/store.js";
import { workerElsewhere } from "../device/worker_elsewhere.js";
import { throwIfAborted } from "../errors.js";
import type { Job, Result, Said, Task } from "./job.js";

const START_MS = 5000;

/** A worker that does one job at a time. Once it has ended, the page does its work. */
export class Carrier {
  private fetchesNot = false;
  private pending: { resolve(done: Done | undefined): void; onBytes(bytes: number): void } | undefined;
  private ended = false;

  private constructor(private readonly worker: Worker) {}

  /** undefined where it cannot be started, or does not begin. */
  static start(): Promise<Carrier | undefined> {
    return new Promise((resolve) => {
      let worker: Worker;
      try {
        worker = makeWorker();
      } catch {
        return resolve(undefined);
      }
      const carrier = new Carrier(worker);
      const timer = setTimeout(() => carrier.end(), START_MS);
      carrier.pending = {
        resolve: () => {
          clearTimeout(timer);
          resolve(undefined);
        },
        onBytes: () => {},
      };
      worker.onerror = (event) => {
        event.preventDefault(); // the page does the work, and it is no error of the page's
        carrier.end();
      };
      worker.onmessage = ({ data }: MessageEvent<Said>) => {
        if (data === "ready") {
          clearTimeout(timer);
          carrier.pending = undefined;
          resolve(carrier);
        } else if (typeof data === "number") carrier.pending?.onBytes(data);
        else {
          const { pending } = carrier;
          carrier.pending = undefined;
          pending?.resolve(data);
        }
      };
    });
  }

  /** Does a task of a reading, in the target's memory, which the page does not have meanwhile. Returns nothing where
   * the page is to do it: then the target may have lost what was in it. */
  async work(reading: Reading, task: Task, onBytes: (bytes: number) => void = () => {}): Promise<Result> {
    const { file, store, options, target } = reading;
    const fetches = task.kind === "take" && task.url !== undefined;
    if (fetches && (this.fetchesNot || options.fetch)) return {};
    const keep = task.kind === "read" ? store.reads : store.keeps;
    const size = target.buffer.byteLength;
    const done = await this.run({ ...file, ...task, keep, trust: options.trust }, target.buffer, onBytes);
    throwIfAborted(options.signal);
    reading.target = new Uint8Array(done?.memory ?? new ArrayBuffer(size), 0, file.bytes);
    if (!done) reading.carrier = undefined;
    const result = done?.result ?? {};
    // It may be the page alone that can fetch it, by a `fetch` of its own or a service worker.
    if (fetches && !result.filled) this.fetchesNot = true;
    if (result.unkept) store.fill(result.unkept);
    // An earlier version kept it in the Cache API, or a page without carriers did.
    if (task.kind === "take" && !fetches && result.unkept === undefined) await store.delete(keyOf(file));
    return result;
  }

  private run(job: Job, memory: ArrayBuffer, onBytes: (bytes: number) => void): Promise<Done | undefined> {
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

interface Done {
  readonly result: Result;
  readonly memory: ArrayBuffer;
}

/** At most so many carriers. None where the page may start none, as under a Content-Security-Policy without them. */
export async function startCarriers(most: number): Promise<Carrier[]> {
  const started = await Promise.all(Array.from({ length: most }, () => Carrier.start()));
  return started.filter((carrier) => carrier !== undefined);
}

function makeWorker(): Worker {
  const elsewhere = workerElsewhere("carrier-worker.js", import.meta.url, { type: "module" });
  // Bundlers look for just this expression.
  return elsewhere ?? new Worker(new URL("./carrier-worker.js", import.meta.url), { type: "module" });
}
