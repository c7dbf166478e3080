// Applies SentencePiece's precompiled character map as Python's `tokenizers` does. The map is a double-array trie over
// UTF-8. Its leaves are offsets into a block of replacements that end in NUL.

const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });

export class CharsMap {
  private readonly units: Uint32Array;
  private readonly replacements: Uint8Array;
  private readonly encoder = new TextEncoder();
  private readonly decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  /** `precompiled` is base64. Throws an Error when it is cut short. */
  constructor(precompiled: string) {
    const bytes = Uint8Array.from(atob(precompiled), (c) => c.charCodeAt(0));
    const size = bytes.length < 4 ? Infinity : new DataView(bytes.buffer).getUint32(0, true);
    if (4 + size > bytes.length) throw new Error("The precompiled character map is cut short.");
    this.units = new Uint32Array(bytes.slice(4, 4 + size).buffer);
    this.replacements = bytes.subarray(4 + size);
  }

  normalize(text: string): string {
    let result = "";
    for (const { segment } of graphemes.segment(text)) {
      const bytes = this.encoder.encode(segment);
      // Whole graphemes only when short, and by their shortest prefix: both are the original's.
      const whole = bytes.length < 6 ? this.find(bytes) : undefined;
      if (whole !== undefined) result += whole;
      else for (const character of segment) result += this.find(this.encoder.encode(character)) ?? character;
    }
    return result;
  }

  private find(key: Uint8Array): string | undefined {
    let at = offset(this.units[0] ?? 0);
    for (const byte of key) {
      if (byte === 0) return undefined;
      at ^= byte;
      const unit = this.units[at];
      if (unit === undefined || (unit & 0x800000ff) !== byte) return undefined;
      at ^= offset(unit);
      if ((unit >>> 8) & 1) {
        const start = (this.units[at] ?? 0) & 0x7fffffff;
        return this.decoder.decode(this.replacements.subarray(start, this.replacements.indexOf(0, start)));
      }
    }
    return undefined;
  }
}

function offset(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}
