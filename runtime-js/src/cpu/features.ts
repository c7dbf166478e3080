// Asks the browser what its WebAssembly has, by modules of one function each.
const HEAD = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7b, 3, 2, 1, 0]; // () -> v128
const SPLAT = [0x41, 1, 0xfd, 0x0f]; // i32.const 1, i8x16.splat

/** Whether it compiles a function of these instructions. */
function compiles(...instructions: readonly number[]): boolean {
  const body = [0, ...instructions, 0x0b];
  return WebAssembly.validate(new Uint8Array([...HEAD, 10, body.length + 2, 1, body.length, ...body]));
}

export const hasSimd = (): boolean => compiles(...SPLAT);
/** Relaxed SIMD: i16x8.relaxed_dot_i8x16_i7x16_s. */
export const hasRelaxedSimd = (): boolean => compiles(...SPLAT, ...SPLAT, 0xfd, 0x92, 0x02);

/** Whether workers may share memory: the page is cross-origin isolated. */
export const canShareMemory = (): boolean =>
  globalThis.crossOriginIsolated === true && typeof SharedArrayBuffer === "function";
