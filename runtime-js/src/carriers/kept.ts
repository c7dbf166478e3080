// Reads and writes kept files in a carrier, by synchronous handles.
import { digest, fileName, folderName, hex, openFolder, SEAL } from "../bundle/files.js";
import type { FileJob, Kept } from "./job.js";

/** What the standard library declares only for workers. */
interface SyncHandle {
  read(target: Uint8Array<ArrayBuffer>, at: { at: number }): number;
  write(source: Uint8Array<ArrayBuffer>, at: { at: number }): number;
  truncate(size: number): void;
  flush(): void;
  close(): void;
}
type File_ = FileSystemFileHandle & { createSyncAccessHandle(options?: { mode: string }): Promise<SyncHandle> };

const TRIES = 20;
const PAUSE_MS = 50;

/** Fills `target`. What is damaged is deleted. */
export async function readKept(target: Uint8Array<ArrayBuffer>, job: FileJob): Promise<Kept> {
  const { base, sha256, keep, trust } = job;
  if (!keep) return "missing";
  const folder = await openFolder(await folderName(base));
  let seal: string | undefined;
  try {
    const file = (await folder!.getFileHandle(fileName(job))) as File_;
    seal = await readInto(target, file);
  } catch {}
  if (seal === undefined) return "missing";
  if (trust && seal === sha256) return "here";
  if ((await digest(target)) !== sha256) {
    await folder!.removeEntry(fileName(job)).catch(() => {});
    return "damaged";
  }
  if (trust) await writeKept(target, job); // the next visit can trust it
  return "here";
}

/** The file's seal, "" where there is none; undefined where the file ends too early. */
async function readInto(target: Uint8Array<ArrayBuffer>, file: File_): Promise<string | undefined> {
  let handle: SyncHandle;
  try {
    handle = await file.createSyncAccessHandle({ mode: "read-only" });
  } catch {
    // Another tab reads it, in a browser that lets only one do so, or writes it.
    const kept = await file.getFile();
    if (kept.size < target.length) return undefined;
    target.set(new Uint8Array(await kept.slice(0, target.length).arrayBuffer()));
    return "";
  }
  try {
    if (handle.read(target, { at: 0 }) < target.length) return undefined;
    const seal = new Uint8Array(SEAL);
    return handle.read(seal, { at: target.length }) === SEAL ? hex(seal) : "";
  } finally {
    handle.close();
  }
}

/** Keeps verified bytes. Returns why they are not kept: "" where they need not be, or another tab has the file. */
export async function writeKept(source: Uint8Array<ArrayBuffer>, job: FileJob): Promise<string | undefined> {
  const { base, sha256, keep, trust } = job;
  if (!keep) return "";
  try {
    const folder = (await openFolder(await folderName(base), true))!;
    const handle = await locked((await folder.getFileHandle(fileName(job), { create: true })) as File_);
    if (!handle) return "";
    try {
      handle.truncate(0);
      write(handle, source, 0);
      if (trust) {
        // The seal follows what it vouches for: a machine that loses its power may lose what is not on the disk.
        handle.flush();
        write(
          handle,
          Uint8Array.from(sha256.match(/../g)!, (pair) => Number.parseInt(pair, 16)),
          source.length,
        );
      }
    } catch (error) {
      handle.close();
      await folder.removeEntry(fileName(job));
      throw error;
    }
    handle.close();
    return undefined;
  } catch (error) {
    return String(error);
  }
}

function write(handle: SyncHandle, bytes: Uint8Array<ArrayBuffer>, at: number): void {
  const written = handle.write(bytes, { at });
  if (written < bytes.length) throw new Error(`${written} of ${bytes.length} bytes could be written.`);
}

/** Waits for a tab that has just been closed, or reads. undefined where it goes on for long. */
async function locked(file: File_): Promise<SyncHandle | undefined> {
  for (let tried = 1; ; tried++) {
    try {
      return await file.createSyncAccessHandle();
    } catch (error) {
      if ((error as Error).name !== "NoModificationAllowedError") throw error;
      if (tried === TRIES) return undefined;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}
