// One thread of the stages: does to each file of a list what it is told, and says how many bytes that were.
const ROOT = "mlcweb-bench";
const jobs = {
  /** Fetches past the browser's cache. */
  async fetch({ url, memory }) {
    return drain((await fetch(url, { cache: "no-store" })).body, memory);
  },
  async hash({ memory, bytes }) {
    await crypto.subtle.digest("SHA-256", memory.subarray(0, bytes));
    return bytes;
  },
  async cacheWrite({ url, memory, bytes, cache }) {
    await cache.put(url, new Response(memory.subarray(0, bytes)));
    return bytes;
  },
  async cacheRead({ url, memory, cache }) {
    return drain((await cache.match(url)).body, memory);
  },
  async cacheWhole({ url, cache }) {
    return (await (await cache.match(url)).arrayBuffer()).byteLength;
  },
  async fileWrite({ name, memory, bytes, folder }) {
    const handle = await (await folder.getFileHandle(name, { create: true })).createSyncAccessHandle();
    const written = handle.write(memory.subarray(0, bytes), { at: 0 });
    handle.close();
    return written;
  },
  async fileRead({ name, memory, bytes, folder }) {
    const handle = await (await folder.getFileHandle(name)).createSyncAccessHandle({ mode: "read-only" });
    const read = handle.read(memory.subarray(0, bytes), { at: 0 });
    handle.close();
    return read;
  },
  async fileReadHash(given) {
    const read = await jobs.fileRead(given);
    await crypto.subtle.digest("SHA-256", given.memory.subarray(0, read));
    return read;
  },
  async fileBlob({ name, folder }) {
    return (await (await (await folder.getFileHandle(name)).getFile()).arrayBuffer()).byteLength;
  },
};

async function drain(body, memory) {
  let filled = 0;
  for (const reader = body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return filled;
    memory.set(value, filled);
    filled += value.length;
  }
}

/** Memory that has been written to: the first touch of a page costs as much as a copy. */
const memories = [];
function memoryOf(i) {
  memories[i] ??= new Uint8Array(24 << 20).fill(1);
  return memories[i];
}

export async function work(job, files, lanes) {
  const cache = await caches.open(ROOT);
  const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle(ROOT, { create: true });
  let total = 0;
  const lane = async (i) => {
    const memory = memoryOf(i);
    for (let file = files.shift(); file; file = files.shift()) {
      const bytes = await jobs[job]({ ...file, memory, cache, folder });
      total += bytes; // not before: other lanes add to it meanwhile
    }
  };
  await Promise.all(Array.from({ length: lanes }, (_, i) => lane(i)));
  return total;
}

if (typeof document === "undefined")
  self.onmessage = async ({ data: { job, files, lanes } }) => {
    try {
      self.postMessage({ total: await work(job, files, lanes) });
    } catch (error) {
      self.postMessage({ error: String(error) });
    }
  };
