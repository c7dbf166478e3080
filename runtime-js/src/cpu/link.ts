// Reaches the CPU's first thread: a worker, since a page must go on while it computes; where there can be none, what
// would be in it runs here.
import { workerElsewhere } from "../device/worker_elsewhere.js";
import { BundleError, type MlcwebError, OutOfMemoryError, UnloadedError, WorkerError } from "../errors.js";
import { type CallName, type Calls, HELP, type Helping, type Reply, type Request, WORKER_NAME } from "./protocol.js";

type Answer<Name extends CallName> = Awaited<ReturnType<Calls[Name]>>;

/** So long a worker may take to begin, on a busy machine too. */
const START_MS = 30_000;

/** A worker of this folder that hears; undefined where the page or its policy admits none. */
function startWorker(): Promise<Worker | undefined> {
  return new Promise((resolve) => {
    let worker: Worker;
    try {
      worker = makeWorker();
    } catch {
      resolve(undefined);
      return;
    }
    const end = (): void => {
      worker.terminate();
      resolve(undefined);
    };
    const timer = setTimeout(end, START_MS);
    worker.onerror = (event) => {
      event.preventDefault(); // the page's thread does its work
      clearTimeout(timer);
      end();
    };
    worker.onmessage = () => {
      clearTimeout(timer);
      resolve(worker);
    };
  });
}

function makeWorker(): Worker {
  const elsewhere = workerElsewhere("cpu-worker.js", import.meta.url, { type: "module", name: WORKER_NAME });
  // Bundlers look for just this expression.
  return elsewhere ?? new Worker(new URL("./cpu-worker.js", import.meta.url), { type: "module", name: WORKER_NAME });
}

export class Link {
  private readonly waiting = new Map<
    number,
    { readonly resolve: (value: unknown) => void; readonly reject: (error: MlcwebError) => void }
  >();
  private readonly workers: Worker[] = [];
  private readonly listeners: ((error: MlcwebError) => void)[] = [];
  private port: Worker | MessagePort | undefined;
  private failure: MlcwebError | undefined;
  private next = 0;

  /** Whether it computes beside the page. */
  get beside(): boolean {
    return this.workers.length > 0;
  }

  /** Starts the first thread. */
  async start(): Promise<void> {
    const worker = await startWorker();
    if (worker) {
      this.workers.push(worker);
      this.listen(worker);
      return;
    }
    const { serve } = await import("./worker.js");
    const { port1, port2 } = new MessageChannel();
    serve(port2);
    this.listen(port1);
  }

  /** Starts a helper. */
  async help(helping: Helping): Promise<void> {
    const worker = await startWorker();
    if (!worker) throw new WorkerError("A thread for the CPU's kernels could not be started.");
    this.workers.push(worker);
    worker.onmessage = ({ data }: MessageEvent<Reply>): void => this.fail(errorOf(data.error!));
    worker.onerror = (event): void => this.fail(stopped(event));
    worker.postMessage({ id: 0, name: HELP, args: [helping] } satisfies Request);
  }

  /** Rejects with a typed error, and so do all calls after a failure. */
  call<Name extends CallName>(
    name: Name,
    args: Parameters<Calls[Name]> | [] = [],
    transfer: Transferable[] = [],
  ): Promise<Answer<Name>> {
    const { failure, port } = this;
    if (failure) return Promise.reject(failure);
    const id = this.next++;
    const answer = new Promise<unknown>((resolve, reject) => this.waiting.set(id, { resolve, reject }));
    port!.postMessage({ id, name, args } satisfies Request, transfer);
    return answer as Promise<Answer<Name>>;
  }

  /** Throws once a thread has failed, or after `close`. */
  check(): void {
    if (this.failure) throw this.failure;
  }

  /** Why a call failed. */
  async why(error: unknown): Promise<unknown> {
    return this.failure ?? error;
  }

  onFailure(tell: (error: MlcwebError) => void): void {
    if (this.failure) tell(this.failure);
    else this.listeners.push(tell);
  }

  /** Ends all threads, and with them their memory. */
  close(): void {
    this.fail(new UnloadedError());
    for (const worker of this.workers) worker.terminate();
    if (this.port instanceof MessagePort) this.port.close();
  }

  private listen(port: Worker | MessagePort): void {
    this.port = port;
    port.onmessage = ({ data: { id, value, error } }: MessageEvent<Reply>): void => {
      const call = this.waiting.get(id);
      this.waiting.delete(id);
      if (error) {
        const failure = errorOf(error);
        call?.reject(failure);
        this.fail(failure); // what a call left undone is not known
      } else call?.resolve(value);
    };
    if (port instanceof MessagePort) return;
    port.onerror = (event): void => this.fail(stopped(event));
  }

  private fail(error: MlcwebError): void {
    if (this.failure) return;
    this.failure = error;
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
    for (const tell of this.listeners) tell(error);
    this.listeners.length = 0;
  }
}

const stopped = (event: ErrorEvent): WorkerError =>
  new WorkerError(`The CPU's worker stopped${event.message ? `: ${event.message}` : ""}.`, "Load the model again.");

function errorOf({ code, message, hint }: NonNullable<Reply["error"]>): MlcwebError {
  if (code === "out-of-memory") return new OutOfMemoryError(message, hint);
  if (code === "bundle") return new BundleError(message, hint);
  return new WorkerError(`The CPU's kernels failed: ${message}`, "Load the model again; if it repeats, report it.");
}
