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

const clip = (sum: number): number => Math.max(0, Math.min(255, sum >> PRECISION));

function alongWidth({ width, height, data }: Rgb, { most, first, count, weights }: Weights): Rgb {
  const to = first.length;
  const out = new Uint8Array(to * height * 3);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < to; x++, at += 3) {
      let [r, g, b] = [HALF, HALF, HALF];
      let from = (y * width + first[x]!) * 3;
      const end = x * most + count[x]!;
      for (let k = x * most; k < end; k++, from += 3) {
        const weight = weights[k]!;
        r += data[from]! * weight;
        g += data[from + 1]! * weight;
        b += data[from + 2]! * weight;
      }
      out[at] = clip(r);
      out[at + 1] = clip(g);
      out[at + 2] = clip(b);
    }
  }
  return { width: to, height, data: out };
}

/** Sums whole rows, so that memory is read in order. */
function alongHeight({ width, data }: Rgb, { most, first, count, weights }: Weights): Rgb {
  const to = first.length;
  const length = width * 3;
  const out = new Uint8Array(to * length);
  const sums = new Int32Array(length);
  for (let y = 0; y < to; y++) {
    sums.fill(HALF);
    for (let k = 0; k < count[y]!; k++) {
      const weight = weights[y * most + k]!;
      const from = (first[y]! + k) * length;
      for (let i = 0; i < length; i++) sums[i]! += data[from + i]! * weight;
    }
    for (let i = 0; i < length; i++) out[y * length + i] = clip(sums[i]!);
  }
  return { width, height: to, data: out };
}
