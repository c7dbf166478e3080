// Tells by a Web Lock that a page or a worker is gone: the browser releases what it held, however it ended.

const manager = (): LockManager | undefined => globalThis.navigator?.locks;

export interface HeldLock {
  readonly name: string;
  release(): void;
}

/** Holds a lock of a new name. undefined where there are no locks, as in a page of no origin. */
export async function holdLock(): Promise<HeldLock | undefined> {
  const name = `mlcweb-${crypto.randomUUID()}`;
  const locks = manager();
  if (!locks) return undefined;
  return new Promise((resolve) => {
    const held = (): Promise<void> => new Promise((release) => resolve({ name, release }));
    locks.request(name, held).catch(() => resolve(undefined));
  });
}

/** Calls `gone` when the holder of a lock is gone. false where nobody holds it here, as when the other side is of
 * another origin, whose locks are others. */
export async function watchLock(name: string, gone: () => void, signal: AbortSignal): Promise<boolean> {
  const locks = manager();
  try {
    if (!(await locks?.query())?.held?.some((lock) => lock.name === name)) return false;
  } catch {
    return false;
  }
  locks!.request(name, { mode: "shared", signal }, gone).catch(() => {});
  return true;
}
