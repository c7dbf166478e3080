// Reaches a worker of any kind, and makes a wire to it.
import { InvalidRequestError, WorkerError } from "../errors.js";
import { connectMessage, keepAliveMessage } from "./protocol.js";
import { type ExtensionPort, extensionWire, isExtensionPort, portWire, type Wire } from "./wire.js";

/** All that an engine may be behind. A port's other end is given to `serveEngine`. */
export type WorkerLike =
  | Worker
  | SharedWorker
  | ServiceWorkerRegistration
  | ServiceWorkerContainer
  | MessagePort
  | ExtensionPort;

/** A function makes a worker or a port anew when the one before has ended. */
export type WorkerSource = WorkerLike | (() => WorkerLike | Promise<WorkerLike>);

export interface Dial {
  /** A new wire to what the worker serves under a name. */
  open(service: string): Promise<Wire>;
  /** Whether the browser ends this worker when it likes, and starts it again when it is asked for. */
  readonly revives: boolean;
  keepAlive?(): void;
  /** Whom to tell when the worker reports an error; the last one given is told. */
  onTrouble?(tell: (why: string) => void): void;
  close?(): void;
}

export function dialTo(worker: WorkerSource): Dial {
  if (typeof worker === "function") return toMade(worker);
  const target = worker as object | null;
  if (typeof target === "object" && target !== null) {
    if (isExtensionPort(target)) return toExtension(target);
    if ("controller" in target && "ready" in target) return toService(() => (target as ServiceWorkerContainer).ready);
    if ("active" in target && "unregister" in target) return toService(async () => target as ServiceWorkerRegistration);
    if ("port" in target) return toEndpoint((worker as SharedWorker).port, target as SharedWorker);
    if ("postMessage" in target) return toEndpoint(target as Worker | MessagePort, target as Worker);
  }
  throw new InvalidRequestError(
    "worker",
    "must be a Worker, a SharedWorker, a ServiceWorkerRegistration, navigator.serviceWorker, or a port.",
  );
}

function toMade(make: () => WorkerLike | Promise<WorkerLike>): Dial {
  let made: Dial | undefined, worker: WorkerLike | undefined;
  return {
    async open(service) {
      made?.close?.();
      if (worker && "terminate" in worker) worker.terminate(); // it does not answer, or could not load
      worker = await make();
      made = dialTo(worker);
      return made.open(service);
    },
    revives: true,
    keepAlive: () => made?.keepAlive?.(),
    onTrouble: (tell) => made?.onTrouble?.(tell),
    close: () => made?.close?.(),
  };
}

function toExtension(port: ExtensionPort): Dial {
  const wire = extensionWire(port);
  // Any message keeps an extension's service worker from ending.
  return { open: async () => wire, revives: false, keepAlive: () => wire.post({ kind: "ping" }) };
}

/** `asker` gets "error" where the script fails. */
function toEndpoint(endpoint: Worker | MessagePort, asker: EventTarget): Dial {
  let tell: ((why: string) => void) | undefined;
  const failed = (event: Event): void => {
    const { message } = event as ErrorEvent;
    tell?.(message ? `an error came from it: ${message}` : "its script cannot be loaded");
  };
  asker.addEventListener("error", failed);
  return {
    async open(service) {
      const { port1, port2 } = new MessageChannel();
      endpoint.postMessage(connectMessage(service), [port2]);
      return portWire(port1);
    },
    revives: false,
    onTrouble(listener) {
      tell = listener;
    },
    close: () => asker.removeEventListener("error", failed),
  };
}

function toService(find: () => Promise<ServiceWorkerRegistration>): Dial {
  let active: ServiceWorker | null = null;
  return {
    async open(service) {
      active = await activated(await find());
      const { port1, port2 } = new MessageChannel();
      active.postMessage(connectMessage(service), [port2]); // starts it, where it has ended
      return portWire(port1);
    },
    revives: true,
    // Messages to ports do not count as use of a service worker; these do.
    keepAlive: () => active?.postMessage(keepAliveMessage()),
  };
}

async function activated(registration: ServiceWorkerRegistration): Promise<ServiceWorker> {
  const coming = registration.installing ?? registration.waiting;
  if (registration.active) return registration.active;
  if (!coming) throw new WorkerError("The service worker is not registered.", "Register it, and load again.");
  await new Promise<void>((resolve, reject) => {
    coming.addEventListener("statechange", () => {
      if (coming.state === "activated") resolve();
      if (coming.state === "redundant") reject(new WorkerError("The service worker could not be installed."));
    });
  });
  return registration.active ?? coming;
}
