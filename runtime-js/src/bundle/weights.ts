// Streams weight chunks to GPU buffers. A lane brings a chunk, copies it into the buffers of the tensors that it
// overlaps, and reuses its memory. At most as many chunks as lanes exist at a time, whatever the model's size.
import type { Carrier } from "../carriers/index.js";
import { throwIfAborted } from "../errors.js";
import type { Manifest } from "./manifest.js";
import type { Source } from "./source.js";

/** Bytes [chunkOffset, chunkOffset + bytes) of a chunk are bytes [tensorOffset, …) of a tensor. */
export interface ChunkRange {
  readonly tensor: string;
  readonly chunkOffset: number;
  readonly tensorOffset: number;
  readonly bytes: number;
}

/** For each chunk, the ranges of the wanted tensors in it; chunks that hold none have an empty list. */
export function chunkRanges(
  manifest: Pick<Manifest, "chunks" | "chunkBytes" | "tensors">,
  names: Iterable<string>,
): ChunkRange[][] {
  const ranges: ChunkRange[][] = manifest.chunks.map(() => []);
  const size = manifest.chunkBytes;
  for (const name of names) {
    const tensor = manifest.tensors.get(name)!;
    const end = tensor.offset + tensor.bytes;
    for (let chunk = Math.floor(tensor.offset / size); chunk * size < end; chunk++) {
      const start = Math.max(tensor.offset, chunk * size);
      ranges[chunk]!.push({
        tensor: name,
        chunkOffset: start - chunk * size,
        tensorOffset: start - tensor.offset,
        bytes: Math.min(end, (chunk + 1) * size) - start,
      });
    }
  }
  return ranges;
}

export interface WeightSink {
  /** Resolves when bytes may be written. */
  ready(): Promise<unknown>;
  /** Copies `bytes` to the tensor's buffer at `offset`; the caller reuses the memory afterwards. */
  write(tensor: string, offset: number, bytes: Uint8Array<ArrayBuffer>): void;
  /** Resolves when what was written has left the staging memory. */
  flushed(): Promise<void>;
}

/** Without carriers the chunks are brought on this one, three at a time. */
const ALONE = [undefined, undefined, undefined];

/** A lane for each of the carriers. */
export async function streamWeights(
  source: Pick<Source, "read">,
  manifest: Manifest,
  names: Iterable<string>,
  sink: WeightSink,
  controller: AbortController = new AbortController(),
  carriers: readonly Carrier[] = [],
): Promise<void> {
  const { signal } = controller;
  const ranges = chunkRanges(manifest, names);
  const work = ranges.map((_, chunk) => chunk).filter((chunk) => ranges[chunk]!.length > 0);
  let next = 0;
  let failure: { error: unknown } | undefined;
  const lane = async (carrier: Carrier | undefined): Promise<void> => {
    let memory = new ArrayBuffer(manifest.chunkBytes);
    let flushed: Promise<unknown> = Promise.resolve();
    while (next < work.length && !failure) {
      throwIfAborted(signal);
      const chunk = work[next++]!;
      const name = manifest.chunks[chunk]!;
      const target = new Uint8Array(memory, 0, manifest.files.get(name)!.bytes);
      // The next chunk comes while the one before is on its way to the GPU, but does not follow it sooner.
      const [bytes] = await Promise.all([source.read(manifest, name, target, carrier), flushed]);
      memory = bytes.buffer;
      await sink.ready();
      throwIfAborted(signal);
      if (failure) return;
      for (const range of ranges[chunk]!)
        sink.write(
          range.tensor,
          range.tensorOffset,
          bytes.subarray(range.chunkOffset, range.chunkOffset + range.bytes),
        );
      flushed = sink.flushed();
      flushed.catch(() => {}); // it is waited for, unless something else fails before
    }
    await flushed;
  };
  // The first failure stops the other downloads, and all of them are waited for: nothing goes on behind a failed load.
  await Promise.all(
    (carriers.length > 0 ? carriers : ALONE).slice(0, work.length).map((carrier) =>
      lane(carrier).catch((error: unknown) => {
        failure ??= { error };
        controller.abort(error);
      }),
    ),
  );
  if (failure) throw failure.error;
}
