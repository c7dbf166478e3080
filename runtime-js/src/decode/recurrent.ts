// Keeps the state that recurrent layers have beside the KV cache. A state cannot forget its last tokens, so copies of
// it are kept: going back takes the nearest copy before, and the tokens after that are fed again.
import { RECURRENT_COPIES } from "../contract/index.js";
import type { Memory } from "../device/index.js";
import type { Buffers, Plan } from "../plan/index.js";

/** Copies where answers begin, and copies inside of the answer; each kind takes turns. */
const SLOTS = { answer: 2, step: RECURRENT_COPIES - 2 } as const;
/** Steps from one copy to the next: so many tokens at most, and those in flight, are fed again. */
export const STEPS_APART = 64;

type Kind = keyof typeof SLOTS;
interface Copy {
  position: number;
  readonly buffers: readonly GPUBuffer[];
}

export class Recurrent {
  /** Tokens that the state has seen when what is submitted has run. */
  private at = 0;
  private readonly copies: Record<Kind, Copy[]>;

  private constructor(
    private readonly device: Pick<GPUDevice, "queue" | "createCommandEncoder">,
    private readonly buffers: readonly GPUBuffer[],
    make: (size: number, label: string) => GPUBuffer,
  ) {
    const copies = (kind: Kind): Copy[] =>
      Array.from({ length: SLOTS[kind] }, (_, i) => ({
        position: 0,
        buffers: buffers.map((buffer) => make(buffer.size, `${buffer.label} ${kind} ${i}`)),
      }));
    this.copies = { answer: copies("answer"), step: copies("step") };
  }

  /** Of a plan that has recurrent layers. */
  static of(plan: Plan, buffers: Buffers, memory: Memory, device: GPUDevice): Promise<Recurrent> | undefined {
    const states = plan.buffers.filter((buffer) => buffer.kind === "recurrent");
    if (states.length === 0) return undefined;
    const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const all = states.map(({ name }) => buffers.get(name)!);
    return memory.scoped(
      () => new Recurrent(device, all, (size, label) => memory.create("recurrent", label, size, usage)),
    );
  }

  /** Notes that tokens up to `position` were fed. */
  fed(position: number): void {
    this.at = position;
  }

  /** Goes back to at most so many tokens, and returns how many the state has seen then. At 0 it is as good as new. */
  rewind(position: number): number {
    const all = [...this.copies.answer, ...this.copies.step];
    for (const copy of all) if (copy.position > position) copy.position = 0; // of tokens that are forgotten
    if (this.at <= position) return this.at;
    const nearest = all.reduce((best, copy) => (copy.position > best.position ? copy : best));
    this.at = nearest.position;
    if (this.at > 0) {
      const encoder = this.device.createCommandEncoder({ label: "rewind" });
      this.copy(encoder, nearest.buffers, this.buffers);
      this.device.queue.submit([encoder.finish()]);
    }
    return this.at;
  }

  /** Keeps a copy of the state as it is now, where an answer begins. */
  mark(): void {
    if (this.at === 0 || this.copies.answer.some((copy) => copy.position === this.at)) return;
    const encoder = this.device.createCommandEncoder({ label: "keep the state" });
    this.keep("answer", encoder);
    this.device.queue.submit([encoder.finish()]);
  }

  /** Notes that `count` steps were encoded, and keeps a copy after some. */
  stepped(count: number, encoder: GPUCommandEncoder): void {
    this.at += count;
    const last = Math.max(...this.copies.answer.concat(this.copies.step).map((copy) => copy.position));
    if (this.at >= last + STEPS_APART) this.keep("step", encoder);
  }

  private keep(kind: Kind, encoder: GPUCommandEncoder): void {
    const oldest = this.copies[kind].reduce((old, copy) => (copy.position < old.position ? copy : old));
    oldest.position = this.at;
    this.copy(encoder, this.buffers, oldest.buffers);
  }

  private copy(encoder: GPUCommandEncoder, from: readonly GPUBuffer[], to: readonly GPUBuffer[]): void {
    for (const [i, buffer] of from.entries()) encoder.copyBufferToBuffer(buffer, 0, to[i]!, 0, buffer.size);
  }
}
