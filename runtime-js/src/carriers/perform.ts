// Does a carrier's jobs.
import { digest } from "../bundle/files.js";
import { fetchInto } from "./fetched.js";
import type { Job, Result } from "./job.js";
import { readKept, writeKept } from "./kept.js";

/** `target` is as long as the file. */
export async function perform(
  job: Job,
  target: Uint8Array<ArrayBuffer>,
  onBytes: (bytes: number) => void,
): Promise<Result> {
  if (job.kind === "read") return { kept: await readKept(target, job) };
  const filled = job.url === undefined ? job.bytes : await fetchInto(target, job.url, job.cache, onBytes);
  if (filled < job.bytes) return { filled };
  const actual = await digest(target);
  const unkept = actual === job.sha256 ? await writeKept(target, job) : undefined;
  return { filled, actual, ...(unkept !== undefined && { unkept }) };
}
