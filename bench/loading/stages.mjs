// Times each stage of a load alone, on the page's thread and in workers, with the files of a bundle.
import { work } from "./stage_worker.mjs";

/** What is timed: a job of stage_worker.mjs, the threads (0: the page's own), and the files that each has under way. */
const STAGES = [
  ["fetch", 0, 3],
  ["fetch", 0, 6],
  ["fetch", 2, 2],
  ["fetch", 4, 1],
  ["hash", 0, 1],
  ["hash", 0, 4],
  ["hash", 4, 1],
  ["cacheWrite", 0, 3],
  ["cacheRead", 0, 3],
  ["cacheWhole", 0, 3],
  ["cacheRead", 2, 1],
  ["cacheRead", 4, 1],
  ["cacheWhole", 4, 1],
  ["fileWrite", 1, 1],
  ["fileWrite", 4, 1],
  ["fileRead", 1, 1],
  ["fileRead", 2, 1],
  ["fileRead", 4, 1],
  ["fileReadHash", 2, 1],
  ["fileReadHash", 4, 1],
  ["fileBlob", 0, 3],
  ["fileBlob", 4, 1],
];

export async function timeStages(url, report, only = "") {
  const base = new URL(url, location.href);
  const { weights, files } = await (await fetch(new URL("mlcweb.json", base))).json();
  const list = weights.chunks.map((name) => ({ name, url: new URL(name, base).href, bytes: files[name].bytes }));
  const workers = [1, 2, 3, 4].map(() => new Worker(new URL("stage_worker.mjs", import.meta.url), { type: "module" }));
  for (const [job, threads, lanes] of STAGES) {
    if (only && !only.split(",").includes(job)) continue;
    const started = performance.now();
    try {
      const total = await (threads
        ? inWorkers(workers.slice(0, threads), job, list, lanes)
        : work(job, [...list], lanes));
      await report({ stage: job, threads, lanes, bytes: total, seconds: (performance.now() - started) / 1000 });
    } catch (error) {
      await report({ stage: job, threads, lanes, failed: String(error) });
    }
  }
  for (const worker of workers) worker.terminate();
  await caches.delete("mlcweb-bench");
  await (await navigator.storage.getDirectory()).removeEntry("mlcweb-bench", { recursive: true });
  await report({ stage: "upload", threads: 0, lanes: 3, ...(await upload(list)) });
}

async function inWorkers(workers, job, list, lanes) {
  const totals = await Promise.all(
    workers.map(
      (worker, i) =>
        new Promise((resolve, reject) => {
          worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data.total));
          worker.postMessage({ job, lanes, files: list.filter((_, at) => at % workers.length === i) });
        }),
    ),
  );
  return totals.reduce((sum, total) => sum + total, 0);
}

/** Writes as many bytes to the GPU as the engine does: chunk by chunk, three on their way. */
async function upload(list) {
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  const device = await adapter.requestDevice();
  const memories = [1, 2, 3].map(() => new Uint8Array(24 << 20).fill(1));
  const buffers = list.map(({ bytes }) => device.createBuffer({ size: bytes & ~3, usage: GPUBufferUsage.COPY_DST }));
  await device.queue.onSubmittedWorkDone();
  const started = performance.now();
  const waiting = [...buffers];
  await Promise.all(
    memories.map(async (memory) => {
      for (let buffer = waiting.shift(); buffer; buffer = waiting.shift()) {
        device.queue.writeBuffer(buffer, 0, memory, 0, buffer.size);
        await device.queue.onSubmittedWorkDone();
      }
    }),
  );
  const seconds = (performance.now() - started) / 1000;
  const bytes = buffers.reduce((sum, { size }) => sum + size, 0);
  device.destroy();
  return { bytes, seconds };
}
