// Asks what the browser keeps for this page: how much, and for how long.

/** Bytes. What the browser does not tell is null, as in a sandboxed frame. */
export interface StorageFacts {
  /** What pages of this origin may keep in all; in a private window that is little. */
  readonly quota: number | null;
  readonly used: number | null;
  readonly left: number | null;
  /** Whether the browser keeps it when the disk is full. */
  readonly persisted: boolean | null;
}

export async function storageFacts(): Promise<StorageFacts> {
  const storage = globalThis.navigator?.storage as StorageManager | undefined;
  const { quota = null, usage: used = null } = (await storage?.estimate().catch(() => {})) ?? {};
  const persisted = (await storage?.persisted().catch(() => null)) ?? null;
  return { quota, used, left: quota === null ? null : Math.max(0, quota - (used ?? 0)), persisted };
}
