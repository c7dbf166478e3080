// The CPU's first thread: it has the model's memory, runs entries with the other threads, and samples.
import { State } from "../contract/index.js";
import { forbid } from "../decode/constraint.js";
import { randomAt } from "../decode/host_sampling.js";
import type { Penalties, Sampling } from "../decode/model.js";
import { stateWords } from "../decode/state.js";
import type { TextOutput, TextWords } from "../embed/calls.js";
import { BundleError, OutOfMemoryError } from "../errors.js";
import { Host, type Plan } from "../plan/index.js";
import { DECODE, EntryCalls, instantiate, PREFILL, runEntries, TEXTS } from "./instance.js";
import { bytesOf, type Layout, layOut, PAGE_BYTES, requireRoom } from "./layout.js";
import type { Calls, Chunk, Helping, Opened, Opening } from "./protocol.js";
import { controlWords, Team } from "./team.js";

const NO_PENALTIES: Penalties = { repetition: 1, frequency: 0, presence: 0 };
/** Enough to learn where a module's own data ends. */
const FIRST_PAGES = 64;

export class Leader implements Calls {
  private opening!: Opening;
  /** Of the plan's buffers, by name: each step asks for some. */
  private indices!: ReadonlyMap<string, number>;
  private memory!: WebAssembly.Memory;
  private layout!: Layout;
  private host!: Host;
  private team!: Team;
  /** What each entry's launch table is for. */
  private readonly dims: string[] = [];
  private position = 0;
  private token = 0;
  private shift = 0;
  /** Tokens of the answer that were sampled: the next one's random number goes by it. */
  private drawn = 0;
  private sampling!: Sampling;
  private counts = new Map<number, number>();
  private mask: Int32Array | undefined;

  async open(opening: Opening): Promise<Opened> {
    const { plan, kernels, host, pages, threads } = opening;
    const shared = threads > 1;
    this.opening = opening;
    this.indices = new Map(plan.buffers.map(({ name }, i) => [name, i]));
    this.host = await Host.load(host);
    const { __heap_base: base } = await instantiate(kernels, makeMemory(FIRST_PAGES, shared));
    this.layout = layoutOf(opening, Number((base as WebAssembly.Global).value));
    const { end } = this.layout;
    requireRoom(end);
    this.memory = makeMemory(Math.ceil(end / PAGE_BYTES), shared);
    this.team = teamOf(opening, await instantiate(kernels, this.memory), this.layout, this.memory);
    if (!plan.texts) {
      const pageTable = this.ints("page_table");
      for (let i = 0; i < Math.min(pages, pageTable.length); i++) pageTable[i] = i;
    }
    return { layout: this.layout, memory: shared ? this.memory : undefined };
  }

  write(tensor: string, offset: number, bytes: Uint8Array<ArrayBuffer>): void {
    new Uint8Array(this.memory.buffer, this.place(tensor) + offset, bytes.length).set(bytes);
  }

  setSampling(sampling: Sampling, taken: readonly number[]): void {
    this.sampling = sampling;
    this.drawn = 0;
    this.counts = new Map();
    for (const token of taken) this.count(token);
  }

  prefill({ tokens, position, sampled, inputs, shift }: Chunk): void {
    this.drawn = sampled;
    this.shift = shift;
    this.ints("tokens").set(tokens);
    for (const [name, words] of Object.entries(inputs)) this.ints(name).set(words);
    this.state(stateWords(position, 0, tokens.length, 0, shift));
    this.run(PREFILL, tokens.length);
    this.position = position + tokens.length;
  }

  step(tokens: readonly number[], position: number, sampled: number, shift: number): void {
    this.drawn = sampled;
    this.position = position;
    this.shift = shift;
    for (const token of tokens) {
      this.token = token;
      this.decode();
    }
  }

  sample(mask?: Int32Array<ArrayBuffer>, counts?: Int32Array<ArrayBuffer>): number {
    this.mask = mask;
    if (counts) {
      this.counts = new Map();
      counts.forEach((times, token) => {
        if (times > 0) this.counts.set(token, times);
      });
    }
    return this.choose();
  }

  decode(): void {
    this.state(stateWords(this.position, this.token, 1, 0, this.shift));
    this.run(DECODE);
    this.position++;
  }

  steps(count: number, masked: boolean): number[] {
    if (!masked) this.mask = undefined;
    return Array.from({ length: count }, () => {
      this.decode();
      return this.choose();
    });
  }

  logits(): Float32Array<ArrayBuffer> {
    return new Float32Array(this.floats("logits")); // a copy, which can be sent
  }

  keep(copy: number): void {
    this.copyStates((state, copies, bytes) => bytes.copyWithin(copies[copy]!, state.begin, state.end));
  }

  bringBack(copy: number): void {
    this.copyStates((state, copies, bytes) =>
      bytes.copyWithin(state.begin, copies[copy]!, copies[copy]! + state.end - state.begin),
    );
  }

  texts({ tokens, places, texts }: TextWords, { name, width }: TextOutput): Float32Array<ArrayBuffer> {
    this.ints("tokens").set(tokens);
    this.ints("places").set(places);
    this.ints("texts").set(texts);
    this.run(TEXTS, tokens.length, texts.length);
    return this.floats(name).slice(0, texts.length * width);
  }

  done(): void {}

  private choose(): number {
    const { temperature, topP, topK, seed, penalties = NO_PENALTIES } = this.sampling;
    let logits = this.floats("logits");
    if (this.mask) {
      logits = new Float32Array(logits);
      forbid(logits, this.mask);
    }
    const { repetition: repetitionPenalty, frequency: frequencyPenalty, presence: presencePenalty } = penalties;
    const params = { temperature, topP, topK, minP: 0, repetitionPenalty, frequencyPenalty, presencePenalty };
    const counts = this.sampling.penalties ? this.counts : new Map<number, number>();
    this.token = this.host.sample(logits, counts, params, randomAt(seed, this.drawn++));
    if (this.sampling.penalties) this.count(this.token);
    return this.token;
  }

  private count(token: number): void {
    this.counts.set(token, (this.counts.get(token) ?? 0) + 1);
  }

  private run(entry: number, ...dims: number[]): void {
    if (this.dims[entry] !== dims.join()) {
      const { launch, launches, recordWords } = runEntries(this.opening.plan)[entry]!;
      const words = launches.length * recordWords;
      const table = this.host.launchTable(launch, dims, words);
      new Uint32Array(this.memory.buffer, this.layout.tables[entry]!, words).set(table);
      this.dims[entry] = dims.join();
    }
    this.team.run(entry);
  }

  private state(words: Int32Array): void {
    this.ints("state").set(words.subarray(0, State.words));
  }

  private copyStates(
    copy: (state: { begin: number; end: number }, copies: readonly number[], bytes: Uint8Array) => void,
  ): void {
    const { plan, pages } = this.opening;
    const bytes = new Uint8Array(this.memory.buffer);
    for (const [i, copies] of this.layout.copies) {
      const begin = this.layout.places[i]!;
      copy({ begin, end: begin + bytesOf(plan.buffers[i]!, pages) }, copies, bytes);
    }
  }

  private place(name: string): number {
    return this.layout.places[this.index(name)]!;
  }
  private ints(name: string): Int32Array {
    return new Int32Array(this.memory.buffer, this.place(name), this.bytes(name) >> 2);
  }
  private floats(name: string): Float32Array {
    return new Float32Array(this.memory.buffer, this.place(name), this.bytes(name) >> 2);
  }
  private bytes(name: string): number {
    return bytesOf(this.opening.plan.buffers[this.index(name)]!, this.opening.pages);
  }
  private index(name: string): number {
    const index = this.indices.get(name);
    if (index === undefined) throw new BundleError(`The plan of the CPU's tier has no buffer ${name}.`);
    return index;
  }
}

/** What another thread does. It never ends, but with its worker. */
export async function help({ opening, layout, memory, thread }: Helping): Promise<never> {
  const exports = await instantiate(opening.kernels, memory, layout.stacks[thread - 1]);
  return teamOf(opening, exports, layout, memory).help();
}

const recordsOf = (plan: Plan): number[] =>
  runEntries(plan).map(({ launches, recordWords }) => launches.length * recordWords);

function layoutOf({ plan, pages, threads }: Opening, base: number): Layout {
  const launches = Math.max(...runEntries(plan).map((entry) => entry.launches.length));
  return layOut(plan, pages, threads, controlWords(launches), recordsOf(plan), base);
}

/** A thread's part of the team, with an instance of its own. */
function teamOf(
  { plan, threads }: Opening,
  exports: WebAssembly.Exports,
  layout: Layout,
  { buffer }: WebAssembly.Memory,
): Team {
  const { control, tables } = layout;
  const words = recordsOf(plan);
  const entries = runEntries(plan).map((entry, i) => {
    const table = new Uint32Array(buffer, tables[i], words[i]);
    return new EntryCalls(exports, plan, entry, layout, table);
  });
  return new Team(new Int32Array(buffer, control, (tables[0]! - control) >> 2), threads, entries);
}

/** Throws OutOfMemoryError where the browser has no room for it. */
function makeMemory(pages: number, shared: boolean): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
  } catch (cause) {
    throw new OutOfMemoryError(
      `The browser has no ${((pages * PAGE_BYTES) / 2 ** 20).toFixed(0)} MiB of memory for the model.`,
      undefined,
      { cause },
    );
  }
}
