// Joins a page to a worker that serves methods, in one process: through real ports, or a fake extension's.
import {
  Connection,
  type ConnectionOptions,
  type Dial,
  dialTo,
  type ExtensionPort,
  listen,
  type Methods,
  type ServeOptions,
  type Session,
  serve,
} from "../src/worker/index.js";

/** What is behind `worker`: `sessions` that are open, and `die`, which ends it as the browser does. */
export class FakeWorker {
  readonly sessions = new Set<Session>();
  readonly port: MessagePort;
  private readonly own: MessagePort;
  constructor(methods: Methods, options: Partial<ServeOptions> = {}) {
    const { port1, port2 } = new MessageChannel();
    this.port = port1;
    this.own = port2;
    const { onClose, ...more } = options;
    const accept = (wire: Parameters<typeof serve>[0]): Session => {
      const closed = (session: Session): void => {
        this.sessions.delete(session);
        onClose?.(session);
      };
      const session = serve(wire, methods, { service: "test", ...more, onClose: closed });
      this.sessions.add(session);
      return session;
    };
    listen("test", accept, port2);
  }
  die(): void {
    for (const session of [...this.sessions]) session.close();
    this.own.close();
  }
}

export const connect = (target: Dial | FakeWorker, options: Partial<ConnectionOptions> = {}): Promise<Connection> =>
  Connection.open(target instanceof FakeWorker ? dialTo(target.port) : target, { service: "test", ...options });

/** Two ends of an extension's connection; each message is JSON on the way. */
export function extensionPorts(): [ExtensionPort & { sent: string[] }, ExtensionPort & { sent: string[] }] {
  const end = () => {
    const heard: ((message: unknown) => void)[] = [],
      gone: (() => void)[] = [];
    return { heard, gone, sent: [] as string[] };
  };
  const ends = [end(), end()] as const;
  const port = (mine: 0 | 1) => ({
    sent: ends[mine].sent,
    postMessage(message: unknown) {
      const text = JSON.stringify(message);
      ends[mine].sent.push(text);
      queueMicrotask(() => {
        for (const hear of ends[1 - mine]!.heard) hear(JSON.parse(text));
      });
    },
    disconnect() {
      for (const hear of ends[1 - mine]!.gone) hear();
    },
    onMessage: { addListener: (hear: (message: unknown) => void) => void ends[mine].heard.push(hear) },
    onDisconnect: { addListener: (hear: () => void) => void ends[mine].gone.push(hear) },
  });
  return [port(0), port(1)];
}

export const pause = (ms = 20): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
/** "waits" where the promise has not settled by then. */
export const settled = <T>(promise: Promise<T>, ms = 30): Promise<T | "waits"> =>
  Promise.race([promise, pause(ms).then(() => "waits" as const)]);
