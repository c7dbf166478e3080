// The script of a carrier. It reads, fetches, hashes and keeps weight chunks, one at a time, in memory that the page
// lends it.
import type { Ask, Said } from "./job.js";
import { perform } from "./perform.js";

const say = (said: Said, transfer: Transferable[] = []): void => self.postMessage(said, { transfer });

self.onmessage = async ({ data: { memory, ...job } }: MessageEvent<Ask>) => {
  say({ result: await perform(job, new Uint8Array(memory, 0, job.bytes), say), memory }, [memory]);
};

say("ready");
