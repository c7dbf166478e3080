// Runs model.wasm, the part of the model on the CPU: it computes launch tables for an entry's dims, and samples.
import { HostSample } from "../contract/index.js";
import { BundleError } from "../errors.js";

export interface SampleParams {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly frequencyPenalty: number;
  readonly presencePenalty: number;
}

type Launch = (...args: number[]) => unknown;

export class Host {
  private readonly memory: WebAssembly.Memory;
  private readonly base: number;
  /** The sampler's memory is taken from the heap's start at its first use; tables lie after it. */
  private samplerBytes = 0;

  private constructor(private readonly exports: WebAssembly.Exports) {
    const { memory, __heap_base: base } = exports;
    if (!(memory instanceof WebAssembly.Memory) || !(base instanceof WebAssembly.Global)) {
      throw new BundleError("model.wasm does not export memory and __heap_base.");
    }
    this.memory = memory;
    this.base = Math.ceil(Number(base.value) / 16) * 16;
  }

  static async load(bytes: Uint8Array<ArrayBuffer>): Promise<Host> {
    try {
      const module = await WebAssembly.compile(bytes);
      const imports = WebAssembly.Module.imports(module);
      if (imports.length)
        throw new BundleError(`model.wasm imports ${imports[0]!.module}.${imports[0]!.name}; it must import nothing.`);
      return new Host((await WebAssembly.instantiate(module, {})).exports);
    } catch (cause) {
      if (cause instanceof BundleError) throw cause;
      throw new BundleError(
        `model.wasm cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}`,
        undefined,
        { cause },
      );
    }
  }

  /** Throws unless `name` is an exported function. */
  requireFunction(name: string): Launch {
    const launch = this.exports[name];
    if (typeof launch !== "function") throw new BundleError(`model.wasm does not export the function ${name}.`);
    return launch as Launch;
  }

  /** The launch table of an entry: `words` u32, valid until the next call. */
  launchTable(name: string, dims: readonly number[], words: number): Uint32Array {
    const pointer = this.base + this.samplerBytes;
    this.reserve(pointer + words * 4);
    try {
      this.requireFunction(name)(...dims, pointer);
    } catch (cause) {
      if (cause instanceof BundleError) throw cause;
      throw new BundleError(`model.wasm failed in ${name}(${dims.join(", ")}).`, undefined, { cause });
    }
    return new Uint32Array(this.memory.buffer, pointer, words);
  }

  /** Samples a token. `logits` is changed only in the wasm's own copy. */
  sample(logits: Float32Array, counts: ReadonlyMap<number, number>, params: SampleParams, random: number): number {
    const vocab = logits.length;
    const sample = this.requireFunction("host_sample");
    const logitsAt = this.base,
      countsAt = logitsAt + vocab * 4,
      probsAt = countsAt + vocab * 4,
      paramsAt = probsAt + vocab * 4,
      tokenAt = paramsAt + HostSample.bytes;
    this.samplerBytes = Math.ceil((tokenAt + 4 - this.base) / 16) * 16;
    this.reserve(this.base + this.samplerBytes);
    const { buffer } = this.memory;
    new Float32Array(buffer, logitsAt, vocab).set(logits);
    const count = new Int32Array(buffer, countsAt, vocab).fill(0);
    for (const [token, times] of counts) count[token] = times;
    const words = new Float32Array(buffer, paramsAt, HostSample.words);
    words[HostSample.temperature] = params.temperature;
    words[HostSample.top_p] = params.topP;
    words[HostSample.top_k] = params.topK;
    words[HostSample.min_p] = params.minP;
    words[HostSample.repetition_penalty] = params.repetitionPenalty;
    words[HostSample.frequency_penalty] = params.frequencyPenalty;
    words[HostSample.presence_penalty] = params.presencePenalty;
    words[HostSample.random] = random;
    sample(logitsAt, countsAt, paramsAt, probsAt, tokenAt, vocab);
    const token = new Int32Array(this.memory.buffer, tokenAt, 1)[0]!;
    if (token < 0 || token >= vocab) throw new BundleError(`host_sample chose ${token}, which is no token.`);
    return token;
  }

  private reserve(end: number): void {
    const missing = end - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / 65536));
  }
}
