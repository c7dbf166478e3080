// The model on the CPU, as the decode loop drives it. What it asks is done in order, beside the page.
import { Axes } from "../decode/axes.js";
import type { Model, Sampling } from "../decode/model.js";
import { Recurrent } from "../decode/recurrent.js";
import { endsOf } from "../decode/whole_pictures.js";
import type { Plan } from "../plan/index.js";
import type { Link } from "./link.js";

/** Up to so many tokens, steps take less time than a prefill. */
const STEP_TOKENS = 1;
/** A latency is nothing here, and a vain step is much. */
const STEPS_AHEAD = 2;

export interface CpuSizes {
  readonly vocabSize: number;
  readonly prefillChunk: number;
  readonly contextLength: number;
}

export class CpuModel implements Model {
  readonly vocabSize: number;
  readonly prefillChunk: number;
  readonly contextLength: number;
  readonly penalizes = true;
  readonly stepsAhead = STEPS_AHEAD;
  readonly recurrent: Recurrent<void> | undefined;
  private readonly axes: Axes | undefined;
  private readonly ends: boolean;

  constructor(
    private readonly link: Link,
    plan: Plan,
    sizes: CpuSizes,
  ) {
    this.vocabSize = sizes.vocabSize;
    this.prefillChunk = sizes.prefillChunk;
    this.contextLength = sizes.contextLength;
    const has = (name: string): boolean => plan.buffers.some((buffer) => buffer.name === name);
    this.axes = has("axes") ? new Axes(noPictures) : undefined;
    this.ends = has("ends");
    if (plan.buffers.some(({ kind }) => kind === "recurrent"))
      this.recurrent = new Recurrent({
        keep: (copy) => this.post("keep", copy),
        bringBack: (copy) => this.post("bringBack", copy),
      });
  }

  /** Address space for a whole context is taken at once, and memory as the tokens come. */
  get kvTokens(): number {
    return this.contextLength;
  }
  async reserve(): Promise<void> {
    this.link.check();
  }

  async setSampling(sampling: Sampling, taken: readonly number[] = []): Promise<void> {
    this.post("setSampling", sampling, taken);
  }

  async prefill(tokens: readonly number[], position: number): Promise<void> {
    this.submit(tokens, position);
    await this.done();
  }

  prefillAndSample(tokens: readonly number[], position: number, sampled = 0): Promise<number> {
    this.submit(tokens, position, sampled);
    return this.link.call("sample");
  }

  steps(count: number): Promise<number[]> {
    const sampled = this.link.call("steps", [count, false]);
    this.recurrent?.stepped(count);
    return sampled;
  }

  feed(tokens: readonly number[], position: number, sampled: number): void {
    this.link.check();
    if (tokens.length > STEP_TOKENS) {
      this.submit(tokens, position, sampled);
      return;
    }
    this.axes?.feed(tokens, position);
    this.post("step", tokens, position, sampled, this.axes?.shift ?? 0);
    this.recurrent?.fed(position + tokens.length);
  }

  sample(mask: Int32Array<ArrayBuffer>, counts?: Int32Array<ArrayBuffer>): Promise<number> {
    return this.link.call("sample", counts ? [mask, counts] : [mask]);
  }

  decode(): void {
    this.post("decode");
    this.recurrent?.stepped(1);
  }

  async sampleAgain(): Promise<number> {
    if (this.recurrent) throw new Error("A vain step of a recurrent layer cannot be taken back.");
    return (await this.link.call("steps", [1, true]))[0]!;
  }

  done(): Promise<void> {
    return this.link.call("done");
  }

  prefillAndRead(tokens: readonly number[], position: number): Promise<Float32Array> {
    this.submit(tokens, position);
    return this.link.call("logits");
  }

  decodeAndRead(token: number, position: number): Promise<Float32Array> {
    this.feed([token], position, 0);
    return this.link.call("logits");
  }

  private submit(tokens: readonly number[], position: number, sampled = 0): void {
    const inputs: Record<string, Int32Array<ArrayBuffer>> = {};
    if (this.axes) inputs.axes = this.axes.feed(tokens, position);
    if (this.ends) inputs.ends = endsOf(tokens, position);
    const shift = this.axes?.shift ?? 0;
    this.post("prefill", { tokens: Int32Array.from(tokens), position, sampled, inputs, shift });
    this.recurrent?.fed(position + tokens.length);
  }

  /** A call whose failure the next that is waited for tells. */
  private post(name: Parameters<Link["call"]>[0], ...args: unknown[]): void {
    this.link.call(name, args as never).catch(() => {});
  }
}

const noPictures = (): never => {
  throw new Error("A picture's row has a place only where pictures are seen.");
};
