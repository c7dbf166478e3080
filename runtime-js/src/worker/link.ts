// Holds one wire to a worker: greets it, and notices when it is gone.
import { WorkerError } from "../errors.js";
import { errorFromJson } from "./error_json.js";
import { type HeldLock, holdLock, watchLock } from "./locks.js";
import { type ToPage, type ToWorker, VERSION } from "./protocol.js";
import type { Wire } from "./wire.js";

export interface Timing {
  /** Milliseconds that a worker may take to start; its script must be fetched. */
  readonly startMs?: number;
  /** Where there are no locks, a worker is asked this often whether it is there. */
  readonly pingMs?: number;
  /** Milliseconds of silence after which it is not. */
  readonly silentMs?: number;
}

export interface LinkEvents {
  hear(message: ToPage): void;
  /** The worker is gone, of which the link is the only one to tell. */
  gone(error: WorkerError): void;
  /** Whether the page waits for an answer. */
  waiting(): boolean;
}

export const START_MS = 60_000;

let pageLock: Promise<HeldLock | undefined> | undefined;

export class Link {
  private readonly closing = new AbortController();
  /** Messages. */
  private heard = 0;
  private greeted: ((error?: Error) => void) | undefined;

  private constructor(
    private readonly wire: Wire,
    private readonly events: LinkEvents,
  ) {
    wire.listen(
      (message) => this.hear(message as ToPage),
      (why) => this.fail(why),
    );
  }

  /** Resolves when the worker has answered. `trouble` is called with what it may call when the script fails. */
  static async open(
    wire: Wire,
    service: string,
    events: LinkEvents,
    { startMs = START_MS, pingMs = 5_000, silentMs = 20_000 }: Timing = {},
    trouble?: (fail: (why: string) => void) => void,
  ): Promise<Link> {
    pageLock ??= holdLock();
    const lock = (await pageLock)?.name;
    const link = new Link(wire, events);
    const workers = await new Promise<string | undefined>((resolve, reject) => {
      const timer = setTimeout(
        () => link.fail(`it did not answer within ${startMs / 1000} s; does its script serve "${service}"?`),
        startMs,
      );
      link.greeted = (error) => {
        clearTimeout(timer);
        link.greeted = undefined;
        if (error) reject(error);
        else resolve(link.lock);
      };
      trouble?.((why) => link.greeted && link.fail(why));
      link.post({ kind: "hello", version: VERSION, service, lock });
    });
    const watched =
      workers !== undefined && (await watchLock(workers, () => link.fail("it has ended"), link.closing.signal));
    link.watched = watched;
    if (!watched) link.watch(pingMs, silentMs);
    return link;
  }

  private lock: string | undefined;
  private watched = false;

  post(message: ToWorker): void {
    if (!this.closed) this.wire.post(message);
  }

  /** Asks whether it is there: something went wrong in it. Where it holds a lock, that tells better. */
  ask(silentMs = 5_000): void {
    if (this.watched) return;
    this.post({ kind: "ping" });
    const { heard } = this;
    setTimeout(() => {
      if (!this.closed && this.heard === heard) this.fail("it does not answer");
    }, silentMs);
  }

  get closed(): boolean {
    return this.closing.signal.aborted;
  }

  close(): void {
    if (this.closed) return;
    this.post({ kind: "bye" });
    this.closing.abort();
    this.wire.close();
  }

  private hear(message: ToPage): void {
    if (this.closed) return;
    this.heard++;
    if (message.kind === "welcome") {
      this.lock = message.lock;
      this.greeted?.();
    } else if (message.kind === "refused") {
      this.closing.abort();
      this.wire.close();
      this.greeted?.(errorFromJson(message.error));
    } else this.events.hear(message);
  }

  private fail(why: string): void {
    if (this.closed) return;
    const error = new WorkerError(`The worker is gone: ${why}.`);
    const { greeted } = this;
    this.close();
    if (greeted) greeted(error);
    else this.events.gone(error);
  }

  /** By questions, where there is no lock to watch: those of a page that waits. */
  private watch(pingMs: number, silentMs: number): void {
    let asked = Infinity,
      heard = -1,
      last = performance.now();
    const timer = setInterval(() => {
      const now = performance.now();
      // Browsers let the timers of a hidden page sleep. Its questions before that may be answered any moment.
      const slept = now - last > 2 * pingMs;
      last = now;
      if (!this.events.waiting()) asked = Infinity;
      else {
        if (slept || this.heard !== heard) asked = now;
        heard = this.heard;
        asked = Math.min(asked, now);
        if (now - asked > silentMs) this.fail(`it said nothing for ${silentMs / 1000} s`);
        else this.post({ kind: "ping" });
      }
    }, pingMs);
    this.closing.signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  }
}
