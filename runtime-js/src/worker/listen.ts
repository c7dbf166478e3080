// Waits in a worker for pages that ask for a connection, in each kind of worker as it is done there.
import { isConnect, isKeepAlive } from "./protocol.js";
import type { Session } from "./session.js";
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
/** What service workers' events have more. */
interface ExtendableEvent extends Event {
  waitUntil?(done: Promise<unknown>): void;
}
interface NamedPort extends ExtensionPort {
  readonly name: string;
  readonly sender?: { readonly url?: string; readonly origin?: string };
}

type Accept = (wire: Wire) => Session;

/** Calls `accept` with a wire to each page that asks for the service: of this worker, or of one port. Call it while the
 * worker's script runs for the first time: a service worker hears only what it listened for then. */
export function listen(
  service: string,
  accept: Accept,
  port?: MessagePort | ExtensionPort,
  scope: WorkerScope = globalThis as unknown as WorkerScope,
): void {
  if (port) {
    if (isExtensionPort(port)) accept(extensionWire(port));
    else hearPort(port, service, accept);
    return;
  }
  const own = scope.location?.origin;
  const sessions = new Set<WeakRef<Session>>();
  scope.addEventListener("message", (event) => {
    const { origin, data } = event as MessageEvent;
    // A worker hears from its own origin alone, but a window hears from all.
    if (origin && own !== "null" && origin !== own) return;
    const session = hear(event as MessageEvent, service, accept);
    if (session) sessions.add(new WeakRef(session));
    if (isKeepAlive(data)) (event as ExtendableEvent).waitUntil?.(untilIdle(sessions));
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

/** While a service worker answers, the browser does not end it, even if its page is hidden, and its timers slow. */
async function untilIdle(sessions: Set<WeakRef<Session>>): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 1000)); // the call comes by another way, perhaps later
  for (const ref of sessions) {
    const session = ref.deref();
    if (session) await session.idle();
    else sessions.delete(ref);
  }
}

function hearPort(port: MessagePort, service: string, accept: Accept): void {
  port.addEventListener("message", (event) => hear(event, service, accept));
  port.start();
}

function hear({ data, ports }: MessageEvent, service: string, accept: Accept): Session | undefined {
  const [port] = ports;
  return port && isConnect(data, service) ? accept(portWire(port)) : undefined;
}
