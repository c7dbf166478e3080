// Computes calls of whole texts on the GPU.
import { nudgeUntil } from "../decode/nudge.js";
import type { Guard, Readbacks } from "../device/index.js";
import { GpuError } from "../errors.js";
import type { Buffers, Entry } from "../plan/index.js";
import type { TextCalls, TextOutput, TextWords } from "./calls.js";

export interface GpuCallsParts {
  readonly device: Pick<GPUDevice, "queue" | "createCommandEncoder">;
  readonly guard: Pick<Guard, "check">;
  readonly readbacks: Pick<Readbacks, "staging" | "read">;
  readonly buffers: Buffers;
  readonly entry: Pick<Entry, "prepare" | "replay">;
}

export class GpuTextCalls implements TextCalls {
  constructor(private readonly parts: GpuCallsParts) {}

  async start(words: TextWords, output: TextOutput): Promise<Float32Array> {
    const { device, guard, readbacks, buffers, entry } = this.parts;
    guard.check();
    for (const [name, data] of Object.entries(words)) device.queue.writeBuffer(buffers.get(name)!, 0, data);
    entry.prepare([words.tokens.length, words.texts.length]);
    const bytes = 4 * words.texts.length * output.width;
    const staging = readbacks.staging(2 ** Math.ceil(Math.log2(bytes)));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    entry.replay(pass);
    pass.end();
    encoder.copyBufferToBuffer(buffers.get(output.name)!, 0, staging, 0, bytes);
    device.queue.submit([encoder.finish()]);
    return new Float32Array(await readbacks.read(staging, bytes));
  }

  async land(started: Promise<Float32Array>): Promise<Float32Array> {
    const numbers = await nudgeUntil(this.parts.device.queue, started);
    if (!numbers.every(Number.isFinite)) throw new GpuError("The GPU computed a number that is none.");
    return numbers;
  }
}
