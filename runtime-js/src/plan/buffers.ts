// The plan's buffers on the GPU, the KV buffers only as long as the context that was asked for.
import type { Memory } from "../device/index.js";
import type { Plan, PlanBuffer } from "./parse.js";

export type Buffers = ReadonlyMap<string, GPUBuffer>;

const bytesOf = (buffer: PlanBuffer, pages: number): number =>
  buffer.kind === "kv" ? buffer.pageBytes * Math.min(pages, buffer.pages) : buffer.bytes;

export function largestBuffer(plan: Plan, pages: number): number {
  return plan.buffers.reduce((most, buffer) => Math.max(most, bytesOf(buffer, pages)), 0);
}

export async function allocate(plan: Plan, memory: Memory, pages: number): Promise<Buffers> {
  const { STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
  const usage = { weight: STORAGE | COPY_DST, kv: STORAGE, scratch: STORAGE, input: STORAGE | COPY_DST | COPY_SRC, output: STORAGE | COPY_SRC };
  return memory.scoped(() => new Map(plan.buffers.map((buffer) =>
    [buffer.name, memory.create(buffer.kind, buffer.name, bytesOf(buffer, pages), usage[buffer.kind])])));
}
