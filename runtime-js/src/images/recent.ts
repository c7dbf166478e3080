// Keeps the pictures that were read last, of each model: a conversation asks for them again and again.
import type { ImageFacts } from "./facts.js";
import type { Picture } from "./read.js";

/** Bytes of tiles that are kept for a model, beside its last picture. */
const MOST_BYTES = 64 << 20;

export class Recent {
  /** The oldest is first. */
  private readonly pictures = new Map<string, Picture>();

  get(file: string): Picture | undefined {
    const found = this.pictures.get(file);
    if (found) this.set(file, found);
    return found;
  }

  set(file: string, picture: Picture): void {
    this.pictures.delete(file);
    this.pictures.set(file, picture);
    let bytes = 0;
    // From the newest: where they are too many, the rest goes.
    for (const [name, { tiles }] of [...this.pictures].reverse()) {
      bytes += tiles.reduce((sum, tile) => sum + tile.length, 0);
      if (bytes > MOST_BYTES && name !== file) this.pictures.delete(name);
    }
  }
}

/** By the facts themselves: they go with their model. */
const models = new WeakMap<ImageFacts, Recent>();

export function recentOf(facts: ImageFacts): Recent {
  const recent = models.get(facts) ?? new Recent();
  models.set(facts, recent);
  return recent;
}
