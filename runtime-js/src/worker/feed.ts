// Sends a stream's items to a page: each at once to a page that keeps up, and several in a message to one that is busy.
import { errorToJson } from "./error_json.js";
import type { End } from "./protocol.js";
import { AHEAD, WINDOW } from "./remote_stream.js";

export class Feed {
  private made = 0;
  private read = 0;
  private sent = 0;
  private begun = false;
  private outbox: unknown[] = [];
  private pumping = false;
  private over = false;
  private readonly iterator: AsyncIterator<unknown, unknown, void>;

  /** `send` may throw for an item that cannot be sent. `unbounded` says that this page's reading does not matter. */
  constructor(
    items: AsyncIterable<unknown>,
    private readonly send: (items: unknown[], end?: End) => void,
    private readonly unbounded: () => boolean,
  ) {
    this.iterator = items[Symbol.asyncIterator]() as AsyncIterator<unknown, unknown, void>;
  }

  /** The page has read so many items, and wants more. */
  more(read: number): void {
    this.read = Math.max(this.read, Math.min(read, this.sent));
    this.begun = true;
    this.wake();
  }

  /** Goes on, where it may. */
  wake(): void {
    this.flush();
    if (this.begun && !this.pumping && !this.over) void this.pump();
  }

  /** Nobody reads on: ends what makes the items. */
  stop(): void {
    if (this.over) return;
    this.over = true;
    this.outbox = [];
    Promise.resolve(this.iterator.return?.()).catch(() => {});
  }

  private async pump(): Promise<void> {
    this.pumping = true;
    try {
      while (!this.over && (this.made - this.read < AHEAD || this.unbounded())) {
        const next = await this.iterator.next();
        if (this.over) return;
        if (next.done) return this.finish({ value: next.value });
        this.made++;
        this.outbox.push(next.value);
        this.flush();
      }
    } catch (error) {
      this.fail(error);
    } finally {
      this.pumping = false;
    }
  }

  private flush(): void {
    if (this.sent - this.read >= WINDOW || this.over || this.outbox.length === 0) return;
    this.sent += this.outbox.length;
    try {
      this.send(this.outbox.splice(0));
    } catch (error) {
      Promise.resolve(this.iterator.return?.()).catch(() => {});
      this.fail(error);
    }
  }

  private fail(error: unknown): void {
    if (!this.over) this.finish({ error: errorToJson(error) });
  }

  private finish(end: End): void {
    this.over = true;
    try {
      this.send(this.outbox.splice(0), end);
    } catch (error) {
      this.send([], { error: errorToJson(error) });
    }
  }
}
