// Runs the compiled model on a device. It writes the shared buffers, encodes one compute pass a step, and reads back.
import { Sampling as SamplingWords, State } from "../contract/index.js";
import { type Guard, type Memory, Readbacks } from "../device/index.js";
import { GpuError } from "../errors.js";
import type { Log } from "../log.js";
import type { Buffers, Entry, PlanBuffers } from "../plan/index.js";
import { Axes } from "./axes.js";
import type { GpuRecurrent } from "./gpu_recurrent.js";
import type { ImageRows } from "./image_rows.js";
import { KvGrowth } from "./kv_growth.js";
import type { Model, Sampling } from "./model.js";
import { nudgeUntil } from "./nudge.js";
import { stateWords } from "./state.js";
import { endsOf } from "./whole_pictures.js";

export interface GpuModelParts {
  readonly device: GPUDevice;
  readonly guard: Guard;
  readonly memory: Memory;
  readonly planBuffers: PlanBuffers;
  readonly buffers: Buffers;
  readonly entries: { readonly prefill: Entry; readonly decode: Entry; readonly mask: Entry; readonly sample: Entry };
  /** Makes an entry that few answers need, where the plan has it. */
  readonly late: Readonly<Record<LateName, (() => Promise<Entry>) | undefined>>;
  readonly vocabSize: number;
  readonly prefillChunk: number;
  readonly contextLength: number;
  readonly pageSize: number;
  /** The state of recurrent layers, if the plan has any. */
  readonly recurrent: GpuRecurrent | undefined;
  /** What it sees of pictures, if it does. */
  readonly images: ImageRows | undefined;
  /** Up to so many tokens, steps take less time than a prefill. */
  readonly stepTokens: number;
  readonly log: Log;
}

/** So many tokens take the least time with the entry for few: on an H200, of a 1B model, 3 to 12. */
const FEWEST = 3,
  MOST_FEW = 12;

export class GpuModel implements Model {
  readonly vocabSize: number;
  readonly prefillChunk: number;
  readonly contextLength: number;
  readonly recurrent: GpuRecurrent | undefined;
  private readonly axes: Axes | undefined;
  private readonly growth: KvGrowth;
  private readonly readbacks: Readbacks;
  private few: Entry | undefined;
  private makingFew: Promise<void> | undefined;
  private penalties: Promise<Penalizing> | undefined;
  /** Of this answer. */
  private penalizing: Penalizing | undefined;

  constructor(readonly parts: GpuModelParts) {
    this.vocabSize = parts.vocabSize;
    this.prefillChunk = parts.prefillChunk;
    this.contextLength = parts.contextLength;
    this.recurrent = parts.recurrent;
    this.axes = parts.buffers.has("axes") ? new Axes((token) => parts.images!.place(token)) : undefined;
    this.readbacks = new Readbacks(parts.guard, parts.memory);
    const { device, guard, planBuffers, entries } = parts;
    const few = (): Entry | undefined => this.few;
    this.growth = new KvGrowth(
      {
        get pages() {
          return planBuffers.pages;
        },
        async grow(pages) {
          await guard.race(planBuffers.grow(device, pages));
          for (const entry of [entries.prefill, entries.decode]) entry.rebindKv(planBuffers.all);
          few()?.rebindKv(planBuffers.all);
        },
      },
      parts.pageSize,
      parts.contextLength,
    );
    const pages = this.buffer("page_table").size / 4;
    this.write(
      "page_table",
      Int32Array.from({ length: pages }, (_, i) => i),
    );
    parts.entries.decode.prepare([]);
    parts.entries.mask.prepare([]);
    parts.entries.sample.prepare([]);
  }

  get kvTokens(): number {
    return this.growth.tokens;
  }
  reserve(tokens: number): Promise<void> {
    return this.growth.reserve(tokens);
  }

  get images(): ImageRows | undefined {
    return this.parts.images;
  }

  knows(token: number): boolean {
    return this.parts.images?.has(token) ?? false;
  }

  get wholePictures(): boolean {
    return this.parts.images?.together ?? false;
  }

  get penalizes(): boolean {
    return this.parts.late.penalize !== undefined;
  }

  async setSampling(
    { temperature, topP, topK, seed, penalties }: Sampling,
    taken: readonly number[] = [],
  ): Promise<void> {
    const words = new Int32Array(SamplingWords.words),
      floats = new Float32Array(words.buffer);
    floats[SamplingWords.temperature] = temperature;
    floats[SamplingWords.top_p] = topP;
    words[SamplingWords.top_k] = topK;
    words[SamplingWords.seed] = seed | 0;
    this.penalizing = undefined;
    if (penalties) {
      floats[SamplingWords.repetition_penalty] = penalties.repetition;
      floats[SamplingWords.frequency_penalty] = penalties.frequency;
      floats[SamplingWords.presence_penalty] = penalties.presence;
      this.penalties ??= this.makePenalties().catch((error) => {
        this.penalties = undefined; // the next answer tries again
        throw error;
      });
      this.penalizing = await this.penalties;
      const { device, guard } = this.parts;
      guard.check();
      const encoder = device.createCommandEncoder();
      encoder.clearBuffer(this.buffer("counts"));
      device.queue.submit([encoder.finish()]);
      if (taken.length > 0) this.write("counts", countsOf(taken, this.vocabSize));
    }
    this.write("sampling", words);
  }

  private async makePenalties(): Promise<Penalizing> {
    const { penalize: makePenalize, count: makeCount } = this.parts.late;
    const [penalize, count] = await Promise.all([makePenalize!(), makeCount!()]);
    penalize.prepare([]);
    count.prepare([]);
    return { penalize, count };
  }

  async prefill(tokens: readonly number[], position: number): Promise<void> {
    this.submitPrefill(tokens, position, false);
    await this.done();
  }

  async done(): Promise<void> {
    await this.parts.guard.race(this.parts.device.queue.onSubmittedWorkDone());
  }

  async prefillAndSample(tokens: readonly number[], position: number, sampled = 0): Promise<number> {
    return (await this.readTokens(this.feedAndSample(tokens, position, sampled)))[0]!;
  }

  private feedAndSample(tokens: readonly number[], position: number, sampled: number): Promise<ArrayBuffer> {
    if (!this.areSteps(tokens)) return this.submitPrefill(tokens, position, true, sampled);
    // The end of a prompt that was read before, or of one whose last token is fed by itself.
    const last = tokens.length - 1;
    this.feed(tokens.slice(0, last), position, sampled);
    return this.step(tokens[last]!, position + last, sampled, ...this.choice());
  }

  steps(count: number): Promise<number[]> {
    const pass = this.pass("decode", ...this.choice());
    const stepped = (encoder: GPUCommandEncoder): void => this.recurrent?.stepped(count, encoder);
    return this.readTokens(this.submit(pass, "state", State.bytes, count, stepped));
  }

  /** Compiles what feeds few tokens, of which most answers have no use; where it fails, they are fed as steps. */
  prepareFew(): Promise<void> {
    this.makingFew ??= (async () => {
      const few = await this.parts.late.prefill_few?.().catch(() => undefined);
      few?.rebindKv(this.parts.planBuffers.all); // another answer may have grown the KV cache meanwhile
      this.few = few;
    })();
    return this.makingFew;
  }

  feed(tokens: readonly number[], position: number, sampled: number): void {
    this.parts.guard.check();
    if (this.few && tokens.length >= FEWEST && tokens.length <= MOST_FEW)
      this.submitPrefill(tokens, position, false, sampled, this.few);
    else if (!this.areSteps(tokens)) this.submitPrefill(tokens, position, false, sampled);
    else tokens.forEach((token, i) => void this.step(token, position + i, sampled));
  }

  sample(mask: Int32Array<ArrayBuffer>, counts?: Int32Array<ArrayBuffer>): Promise<number> {
    this.parts.guard.check();
    this.write("mask", mask);
    if (counts) this.write("counts", counts);
    return this.sampled(...this.choice("mask"));
  }

  decode(): void {
    this.decodeAnd();
  }

  /** A decode step of the token in the state, and what `choice` has of it; then the state is read. */
  private decodeAnd(...choice: readonly (EntryName | Entry)[]): Promise<ArrayBuffer> {
    const stepped = (encoder: GPUCommandEncoder): void => this.recurrent?.stepped(1, encoder);
    const from = choice.length > 0 ? "state" : undefined;
    return this.submit(this.pass("decode", ...choice), from, from && State.bytes, 1, stepped);
  }

  /** As `decodeAnd`, of a token that is given. */
  private step(
    token: number,
    position: number,
    sampled: number,
    ...choice: readonly (EntryName | Entry)[]
  ): Promise<ArrayBuffer> {
    this.write("state", stateWords(position, token, 1, sampled, this.turn([token], position)));
    const read = this.decodeAnd(...choice);
    this.recurrent?.fed(position + 1);
    return read;
  }

  /** Whether these take less time as decode steps than as a prefill. */
  private areSteps(tokens: readonly number[]): boolean {
    return tokens.length <= this.parts.stepTokens && tokens.every((token) => token >= 0);
  }

  sampleAgain(): Promise<number> {
    if (this.recurrent) throw new Error("A vain step of a recurrent layer cannot be taken back.");
    return this.sampled("decode", ...this.choice("mask"));
  }

  /** What chooses a token from logits. */
  private choice(...mask: readonly "mask"[]): readonly (EntryName | Entry)[] {
    const { penalizing } = this;
    return penalizing ? [penalizing.penalize, ...mask, "sample", penalizing.count] : [...mask, "sample"];
  }

  private async sampled(...entries: readonly (EntryName | Entry)[]): Promise<number> {
    const { device } = this.parts;
    const readback = this.submit(this.pass(...entries), "state", State.bytes);
    return (await nudgeUntil(device.queue, this.readTokens(readback)))[0]!;
  }

  async prefillAndRead(tokens: readonly number[], position: number): Promise<Float32Array> {
    this.submitPrefill(tokens, position, false);
    return this.readLogits();
  }

  async decodeAndRead(token: number, position: number): Promise<Float32Array> {
    this.parts.guard.check();
    this.write("state", stateWords(position, token, 1, 0, this.turn([token], position)));
    this.recurrent?.fed(position + 1);
    return this.readLogits(this.pass("decode"));
  }

  private submitPrefill(
    tokens: readonly number[],
    position: number,
    sample: boolean,
    sampled = 0,
    prefill = this.parts.entries.prefill,
  ): Promise<ArrayBuffer> {
    this.parts.guard.check();
    if (tokens.some((token) => token < 0)) this.parts.images!.give(tokens);
    if (this.wholePictures) this.write("ends", endsOf(tokens, position));
    this.write("tokens", Int32Array.from(tokens));
    this.write("state", stateWords(position, 0, tokens.length, sampled, this.turn(tokens, position)));
    prefill.prepare([tokens.length]);
    this.recurrent?.fed(position + tokens.length);
    return sample
      ? this.submit(this.pass(prefill, ...this.choice()), "state", State.bytes)
      : this.submit(this.pass(prefill));
  }

  /** Says where the tokens are for RoPE, if that is not their position; returns what is added to the next's. */
  private turn(tokens: readonly number[], position: number): number {
    if (!this.axes) return 0;
    this.write("axes", this.axes.feed(tokens, position));
    return this.axes.shift;
  }

  /** A pass that replays the entries one after the other. */
  private pass(...entries: readonly (EntryName | Entry)[]): (pass: GPUComputePassEncoder) => void {
    return (pass) => {
      for (const one of entries) {
        const entry = typeof one === "string" ? this.parts.entries[one] : one;
        this.parts.log.say(4, ({ describeLaunches }) => describeLaunches(entry));
        entry.replay(pass);
      }
    };
  }

  private async readLogits(encode?: (pass: GPUComputePassEncoder) => void): Promise<Float32Array> {
    const { device } = this.parts;
    const read = this.submit(encode, "logits", this.vocabSize * 4);
    return new Float32Array(await nudgeUntil(device.queue, read));
  }

  private async readTokens(read: Promise<ArrayBuffer>): Promise<number[]> {
    const states = new Int32Array(await read);
    const tokens = Array.from(
      { length: states.length / State.words },
      (_, i) => states[i * State.words + State.token]!,
    );
    const wrong = tokens.find((token) => token < 0 || token >= this.vocabSize);
    if (wrong !== undefined) throw new GpuError(`The GPU sampled ${wrong}, which is no token: its results are wrong.`);
    return tokens;
  }

  /** One submission: `times` the pass, each followed by a copy of a buffer's first bytes, which are the result. */
  private submit(
    encode: ((pass: GPUComputePassEncoder) => void) | undefined,
    from?: string,
    size = 0,
    times = 1,
    after?: (encoder: GPUCommandEncoder) => void,
  ): Promise<ArrayBuffer> {
    const { device, guard } = this.parts;
    guard.check();
    const encoder = device.createCommandEncoder();
    const bytes = size * times;
    const staging = from === undefined ? undefined : this.readbacks.staging(bytes);
    for (let i = 0; i < times; i++) {
      if (encode) {
        const pass = encoder.beginComputePass();
        encode(pass);
        pass.end();
      }
      if (staging) encoder.copyBufferToBuffer(this.buffer(from!), 0, staging, i * size, size);
    }
    after?.(encoder);
    device.queue.submit([encoder.finish()]);
    const read = staging ? this.readbacks.read(staging, bytes) : Promise.resolve(new ArrayBuffer(0));
    read.catch(() => {}); // who waits for it later hears of it
    return read;
  }

  private buffer(name: string): GPUBuffer {
    return this.parts.buffers.get(name)!;
  }

  private write(name: string, words: Int32Array<ArrayBuffer>): void {
    this.parts.device.queue.writeBuffer(this.buffer(name), 0, words);
  }
}

/** How often each token is among these. */
function countsOf(tokens: readonly number[], vocabSize: number): Int32Array<ArrayBuffer> {
  const counts = new Int32Array(vocabSize);
  for (const token of tokens) counts[token]!++;
  return counts;
}

type EntryName = keyof GpuModelParts["entries"];
type LateName = "prefill_few" | "penalize" | "count";
interface Penalizing {
  readonly penalize: Entry;
  readonly count: Entry;
}
