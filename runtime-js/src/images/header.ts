// Reads a picture's size from the beginning of its file: what is too large must not be decoded, which may take all the
// memory that there is.
import type { Size } from "./tiles.js";

/** Of PNG, JPEG, GIF and WebP; undefined for others, and for what is cut. */
export function sizeInFile(bytes: Uint8Array): Size | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    if (view.getUint32(0) === 0x89504e47) return { width: view.getUint32(16), height: view.getUint32(20) };
    if (view.getUint32(0) === 0x47494638) return { width: view.getUint16(6, true), height: view.getUint16(8, true) };
    if (view.getUint16(0) === 0xffd8) return sizeInJpeg(view);
    if (view.getUint32(0) === 0x52494646 && view.getUint32(8) === 0x57454250) return sizeInWebp(view);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // it ends too early
  }
  return undefined;
}

/** The frame's header comes after others, each of which says how long it is. */
function sizeInJpeg(view: DataView): Size | undefined {
  for (let at = 2; view.getUint8(at) === 0xff; ) {
    const marker = view.getUint8(at + 1);
    // C0 to CF begin frames, but for three of them, which are tables and the like.
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker))
      return { width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
    at += marker === 0xff ? 1 : 2 + view.getUint16(at + 2); // FF may fill up
  }
  return undefined;
}

/** Its first chunk is of one of three kinds: lossy, lossless, or one that says what others there are. */
function sizeInWebp(view: DataView): Size | undefined {
  const mask = 0x3fff;
  const three = (at: number): number => view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
  switch (view.getUint32(12)) {
    case 0x56503820: // "VP8 "
      return { width: view.getUint16(26, true) & mask, height: view.getUint16(28, true) & mask };
    case 0x5650384c: {
      // "VP8L"
      const bits = view.getUint32(21, true);
      return { width: (bits & mask) + 1, height: ((bits >>> 14) & mask) + 1 };
    }
    case 0x56503858: // "VP8X"
      return { width: three(24) + 1, height: three(27) + 1 };
    default:
      return undefined;
  }
}
