// Computes a launch's work from the shapes of the tensors that it binds: the bytes it must read, and its arithmetic.
import type { Manifest } from "../bundle/index.js";
import type { Launched } from "../plan/index.js";

export interface Work {
  /** Bytes of weights, once; of an embedding only the rows that are looked up. */
  readonly weight_bytes: number;
  /** Bytes of the KV cache, once. */
  readonly kv_bytes: number;
  /** Floating-point operations of matrix products and attention (an addition and a multiplication are two); 0 for other
   * kernels. */
  readonly flops: number;
}

/** The work of `tokens` tokens that come after `position` others. */
export function workOf(
  launch: Launched,
  { model, tensors }: Pick<Manifest, "model" | "tensors">,
  tokens: number,
  position: number,
): Work {
  const { op, kernel } = launch,
    { window = Infinity, experts = 1, choices = 1 } = kernel.reads ?? {};
  const names = new Set(
    launch.buffers.filter(({ kind, name }) => kind === "weight" && !name.startsWith("rope.")).map(({ name }) => name),
  );
  const weights = [...names].map((name) => tensors.get(name)!);
  // Tokens that choose evenly; a matrix has rows of every expert, a norm's vector none.
  const chosen = Math.min(1, (tokens * choices) / experts);
  const weight_bytes = Math.round(
    weights.reduce((sum, { bytes, shape }) => sum + bytes * (shape.length < 2 ? 1 : chosen), 0),
  );
  if (op === "embed")
    return { weight_bytes: Math.round((weight_bytes * tokens) / model.vocab_size), kv_bytes: 0, flops: 0 };
  if (op === "attend") {
    const kv_bytes = launch.buffers.reduce(
      (sum, buffer) =>
        sum +
        (buffer.kind === "kv"
          ? (buffer.pageBytes / model.page_size) * Math.min(position + tokens, window + tokens - 1)
          : 0),
      0,
    );
    let pairs = 0; // a query sees the tokens up to its own
    for (let seen = position + 1; seen <= position + tokens; seen++) pairs += Math.min(seen, window);
    return { weight_bytes, kv_bytes, flops: 4 * model.heads * model.head_dim * pairs };
  }
  const rows = op === "head" ? 1 : tokens;
  return { weight_bytes, kv_bytes: 0, flops: Math.round((2 * (kernel.weights ?? 0) * rows * choices) / experts) };
}
