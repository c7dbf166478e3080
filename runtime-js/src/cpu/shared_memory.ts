// Lets a module import a memory that threads share. Its code is the same: what differs is a bit of the import
// (WebAssembly core specification with threads, binary format of limits).
import { BundleError } from "../errors.js";

const IMPORTS = 2,
  MEMORY = 2,
  WITH_MAXIMUM = 1,
  SHARED = 2;

/** The module with its one import, a memory that has a maximum, shared. Throws BundleError for another module. */
export function withSharedMemory(module: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const bytes = module.slice();
  let at = 8;
  const number = (): number => {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = bytes[at++] ?? 0;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    return value >>> 0;
  };
  while (at < bytes.length) {
    const section = bytes[at++];
    const end = number() + at;
    if (section === IMPORTS) {
      const count = number();
      for (let name = 0; name < 2; name++) {
        const length = number();
        at += length;
      }
      if (count === 1 && bytes[at] === MEMORY && bytes[at + 1] === WITH_MAXIMUM) {
        bytes[at + 1] = WITH_MAXIMUM | SHARED;
        return bytes;
      }
    }
    at = end;
  }
  throw new BundleError("The kernels of the CPU's tier do not import a memory and nothing else.");
}
