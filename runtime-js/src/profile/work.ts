// What a launch has to do, from the shapes of what it binds: the bytes it must read, and its arithmetic.
import type { Manifest } from "../bundle/index.js";
import type { PlanBuffer } from "../plan/index.js";

export interface Work {
  /** Bytes of weights, once; of an embedding only the rows that are looked up. */
  readonly weight_bytes: number;
  /** Bytes of the KV cache, once. */
  readonly kv_bytes: number;
  /** Floating-point operations of matrix products and attention (an addition and a multiplication are two); 0 for other kernels. */
  readonly flops: number;
}
export interface Launched { readonly kernel: string; readonly buffers: readonly PlanBuffer[] }

/** `tokens` tokens that come after `position` others. Kernels are told apart by the operation's name in theirs (mlcweb/kernels/ops.py). */
export function workOf(launch: Launched, { model, tensors }: Pick<Manifest, "model" | "tensors">, tokens: number, position: number): Work {
  const operation = operationOf(launch.kernel);
  const names = new Set(launch.buffers.filter(({ kind, name }) => kind === "weight" && !name.startsWith("rope.")).map(({ name }) => name));
  const weights = [...names].map((name) => tensors.get(name)!);
  const weight_bytes = weights.reduce((sum, tensor) => sum + tensor.bytes, 0);
  if (operation === "embed") return { weight_bytes: Math.round((weight_bytes * tokens) / model.vocab_size), kv_bytes: 0, flops: 0 };
  if (operation === "attend") {
    const kv_bytes = launch.buffers.reduce((sum, buffer) => sum + (buffer.kind === "kv" ? (buffer.pageBytes / model.page_size) * (position + tokens) : 0), 0);
    const pairs = tokens * position + (tokens * (tokens + 1)) / 2; // a query sees the tokens up to its own
    return { weight_bytes, kv_bytes, flops: 4 * model.heads * model.head_dim * pairs };
  }
  const rows = operation === "head" ? 1 : tokens;
  const bits = Number(/^q(\d+)/.exec(model.quantization)?.[1] ?? 0);
  const values = weights.reduce((sum, { name, dtype, shape, bytes }) => {
    if (shape.length < 2 || name.endsWith("q_scale")) return sum;
    return sum + (dtype === "uint32" && bits ? (bytes / 4) * Math.floor(32 / bits) : bytes / (dtype === "float16" ? 2 : 4));
  }, 0);
  return { weight_bytes, kv_bytes: 0, flops: 2 * values * rows };
}

/** `decode_gate_up`, `prefill_gate_up_1` and `prefill_int8_gate_up`, or `_matrix_`, are `gate_up`. */
export function operationOf(kernel: string): string {
  return kernel.replace(/^(decode|prefill)_((int8|matrix)_)?/, "").replace(/_?\d+$/, "");
}
