// Names the files of the origin's private file system in which weights are kept, and finds them. A worker reads and
// writes them there without asking another process, which the Cache API does for every 64 KB.

const ROOT = "mlcweb-v1";
const HASH = 64;

/** After the bytes of a file: their sha256, written when they had been verified and were on the disk. */
export const SEAL = 32;

/** The name of the folder of the bundle at `base`, since a URL may be longer than a name. */
export const folderName = async (base: string): Promise<string> =>
  (await digest(new TextEncoder().encode(base))).slice(0, 32);

interface Named {
  readonly name: string;
  readonly sha256: string;
}

export const fileName = ({ name, sha256 }: Named): string => `${name}.${sha256}`;

/** undefined where there is no such folder, or pages may keep no files, as in some private windows. */
export async function openFolder(name: string, create = false): Promise<FileSystemDirectoryHandle | undefined> {
  try {
    const root = await navigator.storage.getDirectory();
    return await (await root.getDirectoryHandle(ROOT, { create })).getDirectoryHandle(name, { create });
  } catch (error) {
    if (create) throw error;
    return undefined;
  }
}

/** A kept file, with its seal; undefined where it is not there. */
export async function openFile(folder: FileSystemDirectoryHandle | undefined, file: string): Promise<Blob | undefined> {
  try {
    return await (await folder?.getFileHandle(file))?.getFile();
  } catch {
    return undefined;
  }
}

/** Whether it is gone: not where it was not there, or a tab goes on using it. */
export async function removeFile(folder: FileSystemDirectoryHandle, file: string): Promise<boolean> {
  for (let tries = 10; tries--; ) {
    try {
      await folder.removeEntry(file);
      return true;
    } catch (error) {
      if ((error as Error).name !== "NoModificationAllowedError") return false;
      await new Promise((resolve) => setTimeout(resolve, 50)); // a carrier that ended lets go of it soon
    }
  }
  return false;
}

/** The folder's files by the names that the bundle gives them. */
export async function filesIn(folder: FileSystemDirectoryHandle | undefined): Promise<Named[]> {
  const found: Named[] = [];
  for await (const file of folder?.keys() ?? [])
    found.push({ name: file.slice(0, -HASH - 1), sha256: file.slice(-HASH) });
  return found;
}

export async function digest(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  // One native digest over a chunk of at most 24 MiB is far faster than hashing a stream in JavaScript, and as bounded.
  return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}

export const hex = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
