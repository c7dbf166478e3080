// Brings a bundle's weights to where the model computes, by carriers where the page may start them.
import { type Manifest, type Source, streamWeights, type WeightSink } from "../bundle/index.js";
import type { Carrier } from "../carriers/index.js";
import type { Guard } from "../device/index.js";
import type { Buffers } from "../plan/index.js";

/** Each has a weight chunk of 24 MiB in memory. */
const CARRIERS = 3;

type Carriers = Promise<readonly Carrier[]>;

export const startCarriers = (source: Source, { chunks }: Manifest, most = CARRIERS): Carriers =>
  source.startCarriers(Math.min(most, chunks.length));

export const endCarriers = async (carriers: Carriers): Promise<void> => {
  for (const carrier of await carriers) carrier.end();
};

/** Brings the weights of these names to the sink, and ends the carriers. */
export async function bringWeights(
  { source, manifest, carriers }: { source: Source; manifest: Manifest; carriers: Carriers },
  names: readonly string[],
  sink: WeightSink,
  controller: AbortController,
): Promise<void> {
  const end = (): void => void endCarriers(carriers);
  controller.signal.addEventListener("abort", end);
  try {
    await streamWeights(source, manifest, names, sink, controller, await carriers);
  } finally {
    end();
  }
}

/** Writes weights into GPU buffers, when `ready` resolves. */
export function gpuSink(device: GPUDevice, guard: Guard, buffers: Buffers, ready: WeightSink["ready"]): WeightSink {
  return {
    ready,
    write(tensor, offset, bytes) {
      guard.check();
      const buffer = buffers.get(tensor)!;
      const even = bytes.length - (bytes.length % 4);
      if (even > 0) device.queue.writeBuffer(buffer, offset, bytes, 0, even);
      if (even === bytes.length) return;
      // Only a tensor's own end can be odd: chunks and offsets are multiples of 16.
      const tail = new Uint8Array(4);
      tail.set(bytes.subarray(even));
      device.queue.writeBuffer(buffer, offset + even, tail);
    },
    flushed: () => guard.race(device.queue.onSubmittedWorkDone()),
  };
}
