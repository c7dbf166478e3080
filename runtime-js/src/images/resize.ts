// Resizes pictures as Pillow does, bit for bit: models were trained on pictures that it resized.

/** 8-bit RGB, three bytes a pixel, row by row. */
export interface Rgb {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}
export type Resample = "lanczos" | "bicubic" | "bilinear";

interface Filter {
  readonly support: number;
  /** Its weight at a distance. */
  readonly at: (x: number) => number;
}

/** Bits after the point of a weight. With 8 of a pixel and 2 to spare, sums fit 32. */
const PRECISION = 32 - 8 - 2;
const HALF = 1 << (PRECISION - 1);

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));
const CUBIC = -0.5;
const FILTERS: Readonly<Record<Resample, Filter>> = {
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    at: (signed) => {
      const x = Math.abs(signed);
      if (x < 1) return ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * CUBIC : 0;
    },
  },
  lanczos: { support: 3, at: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** The pixels that each pixel of the result is made of, along one side. */
interface Weights {
  /** How many each has at most: its weights begin at its index times this. */
  readonly most: number;
  readonly first: Int32Array;
  readonly count: Int32Array;
  readonly weights: Int32Array;
}

/** Along one side and then the other, rounded to 8 bits in between. As of Pillow 13, the height is first where it
 * shrinks by much more than the width. */
export function resize(picture: Rgb, width: number, height: number, resample: Resample): Rgb {
  const filter = FILTERS[resample];
  const across = (from: Rgb): Rgb => (width === from.width ? from : alongWidth(from, weigh(from.width, width, filter)));
  const down = (from: Rgb): Rgb =>
    height === from.height ? from : alongHeight(from, weigh(from.height, height, filter));
  const lost = picture.height - height;
  return lost > 0 && lost > 2 * (picture.width - width) ? across(down(picture)) : down(across(picture));
}

function weigh(from: number, to: number, filter: Filter): Weights {
  const scale = from / to;
  const stretch = Math.max(scale, 1); // a smaller picture's pixel is made of all that it covers
  const support = filter.support * stretch;
  const most = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(to);
  const count = new Int32Array(to);
  const weights = new Int32Array(to * most);
  const row = new Float64Array(most);
  for (let i = 0; i < to; i++) {
    const center = (i + 0.5) * scale;
    const begin = Math.max(0, Math.trunc(center - support + 0.5));
    const n = Math.min(from, Math.trunc(center + support + 0.5)) - begin;
    let sum = 0;
    for (let k = 0; k < n; k++) sum += row[k] = filter.at((k + begin - center + 0.5) * (1 / stretch));
    for (let k = 0; k < n; k++) weights[i * most + k] = fixed(sum === 0 ? row[k]! : row[k]! / sum);
    first[i] = begin;
    count[i] = n;
  }
  return { most, first, count, weights };
}

/** Rounded away from 0. */
const fixed = (weight: number): number => Math.trunc(weight * (1 << PRECISION) + (weight < 0 ? -0.5 : 0.5));

// Arrays that clamp keep sums within a byte; Math.imul keeps products in 32 bits, where the loops are fastest.

function alongWidth({ width, height, data }: Rgb, { most, first, count, weights }: Weights): Rgb {
  const to = first.length;
  const out = new Uint8ClampedArray(to * height * 3);
  for (let y = 0; y < height; y++) {
    const row = data.subarray(y * width * 3, (y + 1) * width * 3);
    const made = out.subarray(y * to * 3, (y + 1) * to * 3);
    for (let x = 0; x < to; x++) {
      let r = HALF;
      let g = HALF;
      let b = HALF;
      let from = first[x]! * 3;
      const end = x * most + count[x]!;
      for (let k = x * most; k < end; k++, from += 3) {
        const weight = weights[k]!;
        r = (r + Math.imul(row[from]!, weight)) | 0;
        g = (g + Math.imul(row[from + 1]!, weight)) | 0;
        b = (b + Math.imul(row[from + 2]!, weight)) | 0;
      }
      made[x * 3] = r >> PRECISION;
      made[x * 3 + 1] = g >> PRECISION;
      made[x * 3 + 2] = b >> PRECISION;
    }
  }
  return { width: to, height, data: new Uint8Array(out.buffer) };
}

/** Sums whole rows, so that memory is read in order. */
function alongHeight({ width, data }: Rgb, { most, first, count, weights }: Weights): Rgb {
  const to = first.length;
  const length = width * 3;
  const out = new Uint8ClampedArray(to * length);
  const sums = new Int32Array(length);
  const row = (y: number): Uint8Array => data.subarray(y * length, (y + 1) * length);
  for (let y = 0; y < to; y++) {
    sums.fill(HALF);
    const own = weights.subarray(y * most, y * most + count[y]!);
    let k = 0;
    for (; k + 4 <= own.length; k += 4) {
      const rows = [0, 1, 2, 3].map((next) => row(first[y]! + k + next)) as [Row, Row, Row, Row];
      addFour(sums, rows, own.subarray(k, k + 4));
    }
    for (; k < own.length; k++) addOne(sums, row(first[y]! + k), own[k]!);
    const made = out.subarray(y * length, (y + 1) * length);
    for (let i = 0; i < length; i++) made[i] = sums[i]! >> PRECISION;
  }
  return { width, height: to, data: new Uint8Array(out.buffer) };
}

type Row = Uint8Array;

function addFour(sums: Int32Array, [a, b, c, d]: readonly [Row, Row, Row, Row], weights: Int32Array): void {
  const [u, v, w, x] = weights as unknown as [number, number, number, number];
  for (let i = 0; i < sums.length; i++)
    sums[i] = (sums[i]! + Math.imul(a[i]!, u) + Math.imul(b[i]!, v) + Math.imul(c[i]!, w) + Math.imul(d[i]!, x)) | 0;
}

function addOne(sums: Int32Array, row: Row, weight: number): void {
  for (let i = 0; i < sums.length; i++) sums[i] = (sums[i]! + Math.imul(row[i]!, weight)) | 0;
}
