// What a launch has to do, from the shapes of what it binds: the bytes it must read, and its arithmetic.
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

/** `tokens` tokens that come after `position` others. Kernels are told apart by the operation's name in theirs
 * (mlcweb/kernels/ops). */
export function workOf(
  launch: Launched,
  { model, tensors }: Pick<Manifest, "model" | "tensors">,
  tokens: number,
  position: number,
): Work {
  const operation = operationOf(launch.kernel.name),
    { window = Infinity, experts = 1, choices = 1 } = launch.kernel.reads ?? {};
  const names = new Set(
    launch.buffers.filter(({ kind, name }) => kind === "weight" && !name.startsWith("rope.")).map(({ name }) => name),
  );
  const weights = [...names].map((name) => tensors.get(name)!);
  // Tokens that choose evenly; a matrix has rows of every expert, a norm's vector none.
  const chosen = Math.min(1, (tokens * choices) / experts);
  const weight_bytes = Math.round(
    weights.reduce((sum, { bytes, shape }) => sum + bytes * (shape.length < 2 ? 1 : chosen), 0),
  );
  if (operation === "embed")
    return { weight_bytes: Math.round((weight_bytes * tokens) / model.vocab_size), kv_bytes: 0, flops: 0 };
  if (operation === "attend") {
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
  const rows = operation === "head" ? 1 : tokens;
  const bits = Number(/^q(\d+)/.exec(model.quantization)?.[1] ?? 0);
  const values = weights.reduce((sum, { name, dtype, shape, bytes }) => {
    if (shape.length < 2 || name.endsWith("q_scale")) return sum;
    return (
      sum + (dtype === "uint32" && bits ? (bytes / 4) * Math.floor(32 / bits) : bytes / (dtype === "float16" ? 2 : 4))
    );
  }, 0);
  return { weight_bytes, kv_bytes: 0, flops: Math.round((2 * values * rows * choices) / experts) };
}

/** `decode_gate_up`, `prefill_gate_up_1` and `prefill_int8_gate_up`, or `_matrix_`, are `gate_up`. */
export function operationOf(kernel: string): string {
  return kernel.replace(/^(decode|prefill)_((int8|matrix)_)?/, "").replace(/_?\d+$/, "");
}
