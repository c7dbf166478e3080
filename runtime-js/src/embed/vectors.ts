// Shortens vectors, and writes them as base64.

/** The first `size` numbers, of length 1 again where `unit`. */
export function shorten(vector: Float32Array, size: number, unit: boolean): Float32Array {
  if (size === vector.length) return vector;
  const short = vector.slice(0, size);
  if (!unit) return short;
  const length = Math.sqrt(short.reduce((sum, x) => sum + x * x, 0));
  return length > 0 ? short.map((x) => x / length) : short;
}

/** Of the numbers as little-endian float32, as every machine that has WebGPU stores them. */
export function base64(vector: Float32Array): string {
  const bytes = new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength);
  let text = "";
  for (let at = 0; at < bytes.length; at += 1 << 14) text += String.fromCharCode(...bytes.subarray(at, at + (1 << 14)));
  return btoa(text);
}
