// Assembles a model.wasm by hand: its function `p(n, out)` writes words, of which "n" is its argument.

function leb(value: number): number[] {
  const out: number[] = [];
  for (;;) {
    const byte = value & 0x7f;
    value >>= 7;
    if ((value === 0 && !(byte & 0x40)) || (value === -1 && byte & 0x40)) return [...out, byte];
    out.push(byte | 0x80);
  }
}
const name = (text: string): number[] => [text.length, ...new TextEncoder().encode(text)];
const section = (id: number, content: number[]): number[] => [id, ...unsigned(content.length), ...content];
const unsigned = (value: number): number[] =>
  value < 128 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >> 7)];

export function launchWasm(words: readonly (number | "n")[], heapBase = 1000): Uint8Array<ArrayBuffer> {
  const code = words.flatMap((word, i) => [
    0x20,
    1,
    ...(word === "n" ? [0x20, 0] : [0x41, ...leb(word)]),
    0x36,
    2,
    ...unsigned(i * 4),
  ]);
  const body = [0, ...code, 0x0b];
  return Uint8Array.from([
    0,
    0x61,
    0x73,
    0x6d,
    1,
    0,
    0,
    0,
    ...section(1, [1, 0x60, 2, 0x7f, 0x7f, 0]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, 1]),
    ...section(6, [1, 0x7f, 0, 0x41, ...leb(heapBase), 0x0b]),
    ...section(7, [3, ...name("memory"), 2, 0, ...name("__heap_base"), 3, 0, ...name("p"), 0, 0]),
    ...section(10, [1, ...unsigned(body.length), ...body]),
  ]);
}
