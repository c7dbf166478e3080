// Asks the browser what its WebAssembly has, by modules of one function each.
import type { Tier } from "../bundle/index.js";
import { MissingFeatureError } from "../errors.js";

const HEAD = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7b, 3, 2, 1, 0]; // () -> v128
const SPLAT = [0x41, 1, 0xfd, 0x0f]; // i32.const 1, i8x16.splat

/** Whether it compiles a function of these instructions. */
function compiles(...instructions: readonly number[]): boolean {
  const body = [0, ...instructions, 0x0b];
  return WebAssembly.validate(new Uint8Array([...HEAD, 10, body.length + 2, 1, body.length, ...body]));
}

const hasSimd = (): boolean => compiles(...SPLAT);
/** Relaxed SIMD: i16x8.relaxed_dot_i8x16_i7x16_s. */
const hasRelaxedSimd = (): boolean => compiles(...SPLAT, ...SPLAT, 0xfd, 0x92, 0x02);

/** The CPU tier's kernels that this browser can run. Throws MissingFeatureError where WebAssembly has no SIMD. */
export function kernelsFor({ kernels, relaxed }: Pick<Tier, "kernels" | "relaxed">): string {
  if (!hasSimd())
    throw new MissingFeatureError(
      "This browser has no WebGPU, and its WebAssembly has no SIMD.",
      ["WebAssembly SIMD"],
      "Use a current browser.",
    );
  return (hasRelaxedSimd() && relaxed) || kernels;
}

/** Whether workers may share memory: the page is cross-origin isolated. */
export const canShareMemory = (): boolean =>
  globalThis.crossOriginIsolated === true && typeof SharedArrayBuffer === "function";
