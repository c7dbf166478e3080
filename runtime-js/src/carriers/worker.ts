// The script of a carrier. It reads, fetches, hashes and keeps weight chunks, one at a time, in memory that the page
// lends it.
import { digest } from "../bundle/files.js";
import { fetchInto } from "./fetched.js";
import type { Ask, Result, Said } from "./job.js";
import { readKept, writeKept } from "./kept.js";

const say = (said: Said, transfer: Transferable[] = []): void => self.postMessage(said, { transfer });

self.onmessage = async ({ data }: MessageEvent<Ask>) => {
  const target = new Uint8Array(data.memory, 0, data.bytes);
  say({ result: await done(data, target), memory: data.memory }, [data.memory]);
};

async function done(ask: Ask, target: Uint8Array<ArrayBuffer>): Promise<Result> {
  if (ask.kind === "read") return { kept: await readKept(target, ask) };
  const filled = ask.url === undefined ? ask.bytes : await fetchInto(target, ask.url, ask.cache, say);
  if (filled < ask.bytes) return { filled };
  const actual = await digest(target);
  const unkept = actual === ask.sha256 ? await writeKept(target, ask) : undefined;
  return { filled, actual, ...(unkept !== undefined && { unkept }) };
}

say("ready");
