// Runs a model that reads texts: several calls are on the GPU at a time, so that it does not wait for the page, and
// results are read back in order.
import { nudgeUntil } from "../decode/nudge.js";
import type { Guard, Readbacks } from "../device/index.js";
import { GpuError } from "../errors.js";
import type { Buffers, Entry } from "../plan/index.js";
import type { Typed } from "../text/post_processor.js";
import { packCalls, wordsOf } from "./calls.js";

export interface TextModelParts {
  readonly device: Pick<GPUDevice, "queue" | "createCommandEncoder">;
  readonly guard: Pick<Guard, "check">;
  readonly readbacks: Pick<Readbacks, "staging" | "read">;
  readonly buffers: Buffers;
  readonly entry: Pick<Entry, "prepare" | "replay">;
  /** The buffer of results, and how many numbers a text has there. */
  readonly output: { readonly name: string; readonly width: number };
  /** Tokens of a call. */
  readonly callTokens: number;
}

/** Calls on the GPU at a time: one runs, one waits for it, and one is read back while the next is packed. */
const IN_FLIGHT = 4;

export class TextModel {
  constructor(private readonly parts: TextModelParts) {}

  /** The numbers of each text, in order. `check` hears how many there are, and throws where the work must end. */
  async run(texts: Iterable<Typed>, check: (done: number) => void): Promise<Float32Array[]> {
    const { callTokens, device, output } = this.parts;
    const rows: Float32Array[] = [];
    const flying: Promise<Float32Array>[] = [];
    const land = async (): Promise<void> => {
      const numbers = await nudgeUntil(device.queue, flying.shift()!);
      for (let at = 0; at < numbers.length; at += output.width) rows.push(numbers.subarray(at, at + output.width));
      check(rows.length);
    };
    for (const call of packCalls(texts, callTokens)) {
      check(rows.length);
      flying.push(this.call(call));
      if (flying.length === IN_FLIGHT) await land();
    }
    while (flying.length > 0) await land();
    return rows;
  }

  private call(call: readonly Typed[]): Promise<Float32Array> {
    const { device, guard, readbacks, buffers, entry, output } = this.parts;
    guard.check();
    const words = wordsOf(call);
    for (const [name, data] of Object.entries(words)) device.queue.writeBuffer(buffers.get(name)!, 0, data);
    entry.prepare([words.tokens.length, call.length]);
    const bytes = 4 * call.length * output.width;
    const staging = readbacks.staging(2 ** Math.ceil(Math.log2(bytes)));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    entry.replay(pass);
    pass.end();
    encoder.copyBufferToBuffer(buffers.get(output.name)!, 0, staging, 0, bytes);
    device.queue.submit([encoder.finish()]);
    const read = readbacks.read(staging, bytes).then((copy) => finite(new Float32Array(copy)));
    read.catch(() => {}); // who lands it hears of it
    return read;
  }
}

function finite(numbers: Float32Array): Float32Array {
  if (!numbers.every(Number.isFinite)) throw new GpuError("The GPU computed a number that is none.");
  return numbers;
}
