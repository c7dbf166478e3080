// Words a load's progress as WebLLM does, since apps read numbers out of it.
import { MAX_CHUNK_BYTES } from "../contract/generated/constants.js";
import type { LoadProgress } from "../engine/progress.js";
import type { InitProgressReport } from "./types/engine.js";

const MIB = 2 ** 20;

/** `cached`: nothing comes over the network. The last words are not here: they name the GPU. */
export function reportOf(progress: LoadProgress, cached: boolean, seconds: number): InitProgressReport {
  const { stage, fraction } = progress;
  return {
    progress: fraction,
    timeElapsed: seconds,
    text: stage === "manifest" ? START : textOf(progress, cached, seconds),
  };
}

export const START = "Start to fetch params";

/** `adapter` as the browser describes it. */
export function finished(adapter: { description?: string; vendor?: string }, seconds: number): InitProgressReport {
  const name = adapter.description || adapter.vendor;
  return { progress: 1, timeElapsed: seconds, text: `Finish loading on WebGPU${name ? ` - ${name}` : ""}` };
}

function textOf({ stage, loadedBytes, totalBytes, pipelines }: LoadProgress, cached: boolean, seconds: number): string {
  const elapsed = `${Math.ceil(seconds)} secs elapsed.`;
  if (stage === "kernels" && pipelines) {
    const { done, total } = pipelines;
    return `Loading GPU shader modules[${done}/${total}]: ${percent(done, total)}% completed, ${elapsed}`;
  }
  // A bundle's chunks have at most so many bytes.
  const chunk = Math.min(MAX_CHUNK_BYTES, totalBytes || 1);
  const of = `[${Math.floor(loadedBytes / chunk)}/${Math.ceil(totalBytes / chunk)}]`;
  const size = `${Math.ceil(loadedBytes / MIB)}MB`;
  const part = `${percent(loadedBytes, totalBytes)}% completed, ${elapsed}`;
  if (cached) return `Loading model from cache${of}: ${size} loaded. ${part}`;
  return `Fetching param cache${of}: ${size} fetched. ${part} What is fetched is kept for the next visit.`;
}

const percent = (done: number, total: number): number => (total > 0 ? Math.floor((done / total) * 100) : 0);
