// Holds the vectors of sentences, and finds the nearest to a query's.

export interface Found {
  readonly at: number;
  /** From -1 to 1: the cosine of the angle between the vectors. */
  readonly similarity: number;
}

export class SearchIndex {
  private readonly vectors: Float32Array[] = [];

  get size(): number {
    return this.vectors.length;
  }

  add(vector: readonly number[]): void {
    this.vectors.push(unit(vector));
  }

  /** The `count` nearest, the nearest first. */
  nearest(query: readonly number[], count: number): Found[] {
    const asked = unit(query);
    const found = this.vectors.map((vector, at) => ({ at, similarity: dot(vector, asked) }));
    return found.sort((a, b) => b.similarity - a.similarity).slice(0, count);
  }
}

function unit(vector: readonly number[]): Float32Array {
  const length = Math.hypot(...vector) || 1;
  return Float32Array.from(vector, (x) => x / length);
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
