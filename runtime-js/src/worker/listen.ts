// Waits in a worker for pages that ask for a connection, in each kind of worker as it is done there.
import { isConnect } from "./protocol.js";
import { type ExtensionPort, extensionWire, isExtensionPort, portWire, type Wire } from "./wire.js";

/** The name of an extension's connection. */
export const EXTENSION_NAME = "mlcweb";

interface WorkerScope extends EventTarget {
  readonly location?: { readonly origin: string };
  readonly navigator?: unknown;
  readonly chrome?: {
    readonly runtime?: {
      readonly onConnect?: { addListener(listener: (port: NamedPort) => void): void };
    };
  };
  onconnect?: unknown;
}
interface NamedPort extends ExtensionPort {
  readonly name: string;
  readonly sender?: { readonly url?: string; readonly origin?: string };
}

/** Calls `accept` with a wire to each page that asks for the service: of this worker, or of one port. Call it while the
 * worker's script runs for the first time: a service worker hears only what it listened for then. */
export function listen(
  service: string,
  accept: (wire: Wire) => void,
  port?: MessagePort | ExtensionPort,
  scope: WorkerScope = globalThis as unknown as WorkerScope,
): void {
  if (port) {
    if (isExtensionPort(port)) accept(extensionWire(port));
    else hearPort(port, service, accept);
    return;
  }
  const own = scope.location?.origin;
  scope.addEventListener("message", (event) => {
    const { origin } = event as MessageEvent;
    // A worker hears from its own origin alone, but a window hears from all.
    if (origin && own !== "null" && origin !== own) return;
    hear(event as MessageEvent, service, accept);
  });
  if ("onconnect" in scope)
    scope.addEventListener("connect", (event) => {
      for (const shared of (event as MessageEvent).ports) hearPort(shared, service, accept);
    });
  // An extension's own pages. A script of its in a foreign page is not one.
  scope.chrome?.runtime?.onConnect?.addListener((from) => {
    const { origin, url } = from.sender ?? {};
    const ours = origin === own || (origin === undefined && url?.startsWith(`${own}/`));
    if (from.name === EXTENSION_NAME && ours) accept(extensionWire(from));
  });
}

function hearPort(port: MessagePort, service: string, accept: (wire: Wire) => void): void {
  port.addEventListener("message", (event) => hear(event, service, accept));
  port.start();
}

function hear({ data, ports }: MessageEvent, service: string, accept: (wire: Wire) => void): void {
  const [port] = ports;
  if (port && isConnect(data, service)) accept(portWire(port));
}
