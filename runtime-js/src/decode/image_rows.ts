// Runs a vision tower on pictures or tiles of them, and keeps the rows that it makes. In a prompt a token below 0
// stands for a row: a prefill reads it where the token is. Each picture has tokens of its own, so that the KV cache of
// one is never taken for another's.
import { Place, Spot } from "../contract/index.js";
import type { Guard, Memory } from "../device/index.js";
import { throwIfAborted } from "../errors.js";
import { type Shape, windowsOf } from "../images/facts.js";
import type { Buffers, Entry } from "../plan/index.js";
import type { RowPlace } from "./axes.js";

export interface ImageRowsParts {
  readonly device: Pick<GPUDevice, "queue" | "createCommandEncoder">;
  readonly guard: Pick<Guard, "check" | "race">;
  readonly memory: Pick<Memory, "create" | "free" | "scoped">;
  readonly buffers: Buffers;
  /** Makes the entry `image`, which a chat without pictures does not need. */
  readonly entry: () => Promise<Entry>;
  /** So many patches below and beside each other become a row, of so many numbers. */
  readonly merge: number;
  readonly width: number;
  /** Rows a side of the windows that layers of the tower see, if they do. */
  readonly window: number | undefined;
  /** A picture's rows see one another. */
  readonly together: boolean;
}

/** A picture's tiles as patches, made one by one; or a whole picture as one. */
export interface SeenPicture {
  /** The same for the same tiles. */
  readonly key: string;
  readonly tiles: number;
  /** Of a tile, in patches. */
  readonly shape: Shape;
  readonly patches: (tile: number) => Float32Array<ArrayBuffer>;
}

interface Kept {
  /** Its rows have the tokens from -first down to -(first + rows - 1). */
  readonly first: number;
  readonly rows: number;
  /** Of a tile, in rows. */
  readonly shape: Shape;
  readonly buffer: GPUBuffer;
}

/** Bytes of rows that are kept of pictures which the last request had not. */
const KEPT_BYTES = 64 * 2 ** 20;

export class ImageRows {
  private readonly kept = new Map<string, Kept>();
  private next = 1;
  private entry: Promise<Entry> | undefined;
  /** Of the last call. */
  private shape: Shape | undefined;

  constructor(private readonly parts: ImageRowsParts) {}

  get together(): boolean {
    return this.parts.together;
  }

  /** Whether a token stands for a row that is there. */
  has(token: number): boolean {
    return this.find(-token) !== undefined;
  }

  /** Which row of its picture a token stands for. */
  place(token: number): RowPlace {
    const { first, shape } = this.find(-token)!;
    return { index: -token - first, ...shape };
  }

  /** The tokens of the pictures' rows, in order. What the GPU has seen before is not seen again. */
  async see(pictures: readonly SeenPicture[], signal?: AbortSignal): Promise<number[]> {
    this.forget(new Set(pictures.map(({ key }) => key)));
    const tokens: number[] = [];
    for (const picture of pictures) {
      const kept = this.kept.get(picture.key) ?? (await this.look(picture, signal));
      this.kept.delete(picture.key); // and to the end, where the last used are
      this.kept.set(picture.key, kept);
      for (let row = 0; row < kept.rows; row++) tokens.push(-(kept.first + row));
    }
    return tokens;
  }

  /** Puts the rows that tokens stand for where a prefill of these tokens reads them. */
  give(tokens: readonly number[]): void {
    const { device, buffers, width } = this.parts;
    const encoder = device.createCommandEncoder({ label: "rows of pictures" });
    for (let at = 0; at < tokens.length; ) {
      const first = -tokens[at]!;
      let count = 1;
      if (first > 0) {
        const kept = this.find(first)!;
        const most = kept.first + kept.rows - first;
        while (count < most && tokens[at + count] === -(first + count)) count++;
        const row = 4 * width;
        encoder.copyBufferToBuffer(
          kept.buffer,
          (first - kept.first) * row,
          buffers.get("images")!,
          at * row,
          count * row,
        );
      }
      at += count;
    }
    device.queue.submit([encoder.finish()]);
  }

  private find(id: number): Kept | undefined {
    for (const kept of this.kept.values()) if (id >= kept.first && id < kept.first + kept.rows) return kept;
    return undefined;
  }

  private async look({ key, tiles, shape, patches }: SeenPicture, signal: AbortSignal | undefined): Promise<Kept> {
    const { device, guard, memory, buffers, merge, width } = this.parts;
    this.entry ??= this.parts.entry().catch((error) => {
      this.entry = undefined; // the next picture tries again
      throw error;
    });
    const entry = await this.entry;
    const inRows = { lines: shape.lines / merge, columns: shape.columns / merge };
    const rows = inRows.lines * inRows.columns;
    this.lay(shape, entry);
    const bytes = 4 * rows * width;
    const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const buffer = await memory.scoped(() => memory.create("input", "rows of a picture", tiles * bytes, usage));
    try {
      let before: Promise<unknown> = Promise.resolve();
      for (let tile = 0; tile < tiles; tile++) {
        throwIfAborted(signal);
        guard.check();
        device.queue.writeBuffer(buffers.get("patches")!, 0, patches(tile));
        const encoder = device.createCommandEncoder({ label: "see a tile" });
        const pass = encoder.beginComputePass();
        entry.replay(pass);
        pass.end();
        encoder.copyBufferToBuffer(buffers.get("image_rows")!, 0, buffer, tile * bytes, bytes);
        device.queue.submit([encoder.finish()]);
        await guard.race(before); // one runs while the next is prepared, so that a cancellation is heard
        before = device.queue.onSubmittedWorkDone();
      }
    } catch (error) {
      memory.free(buffer);
      throw error;
    }
    const kept = { first: this.next, rows: tiles * rows, shape: inRows, buffer };
    this.next += kept.rows;
    this.kept.set(key, kept);
    return kept;
  }

  /** Says where the patches of the next calls are, unless they are where those of the last were. They come in blocks
   * that become rows, window by window. */
  private lay(shape: Shape, entry: Entry): void {
    const { device, buffers, merge, window } = this.parts;
    const { lines, columns } = shape;
    if (this.shape?.lines === lines && this.shape.columns === columns) return;
    const patches = lines * columns;
    const windows = windowsOf(shape, merge, window);
    const order = windows.flat();
    const first = new Int32Array(order.length);
    order.forEach((row, at) => {
      first[row] = at * merge ** 2;
    });
    const words: Record<string, Int32Array<ArrayBuffer>> = {
      places: placesOf([patches]),
      rows: first,
      ...(buffers.has("spots")
        ? { spots: spotsOf(shape, merge, order) }
        : { positions: Int32Array.from({ length: patches }, (_, i) => i) }),
      ...(window && { windows: placesOf(windows.map((rows) => rows.length * merge ** 2)) }),
    };
    for (const [name, values] of Object.entries(words)) device.queue.writeBuffer(buffers.get(name)!, 0, values);
    entry.prepare([patches, order.length]);
    this.shape = shape;
  }

  /** Frees the rows of pictures that were not used for the longest time, but for these. */
  private forget(needed: ReadonlySet<string>): void {
    const { memory } = this.parts;
    const others = [...this.kept].filter(([key]) => !needed.has(key));
    let bytes = others.reduce((sum, [, { buffer }]) => sum + buffer.size, 0);
    for (const [key, { buffer }] of others) {
      if (bytes <= KEPT_BYTES) return;
      bytes -= buffer.size;
      memory.free(buffer);
      this.kept.delete(key);
    }
  }
}

/** Where each patch is among those that it sees: groups of so many, one after the other. */
function placesOf(sizes: readonly number[]): Int32Array<ArrayBuffer> {
  const words = new Int32Array(Place.words * sizes.reduce((sum, size) => sum + size, 0));
  let begin = 0;
  for (const size of sizes) {
    for (let i = 0; i < size; i++) {
      const at = Place.words * (begin + i);
      words[at + Place.begin] = begin;
      words[at + Place.end] = begin + size;
      words[at + Place.position] = i;
    }
    begin += size;
  }
  return words;
}

/** Where each patch is in its picture, whose rows come in this order. */
function spotsOf({ lines, columns }: Shape, merge: number, order: readonly number[]): Int32Array<ArrayBuffer> {
  const words = new Int32Array(Spot.words * lines * columns);
  const across = columns / merge;
  order.forEach((row, block) => {
    for (let within = 0; within < merge ** 2; within++) {
      const at = Spot.words * (block * merge ** 2 + within);
      words[at + Spot.line] = Math.floor(row / across) * merge + Math.floor(within / merge);
      words[at + Spot.column] = (row % across) * merge + (within % merge);
      words[at + Spot.lines] = lines;
      words[at + Spot.columns] = columns;
    }
  });
  return words;
}
