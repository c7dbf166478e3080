// Writes numbers: ranges digit by digit, and multiples by a remainder that is carried along.
import { chars, choice, EMPTY, NOTHING, type Node, optional, repeat, rule, sequence, text } from "../grammar.js";
import { type Decimal, decimal, isMultiple, plainDigits, trimmed } from "./decimals.js";
import type { NumberForm } from "./forms.js";
import { oneOfTexts } from "./texts.js";

/** Beyond these a text can be Infinity to JSON.parse. */
const DIGITS = 308;
/** Decimals of up to so many digits are each a double of their own. */
const EXACT = 15;
const REMAINDERS = 100;
const LISTED = 10_000;

export type Define = (name: string, node: Node) => void;
type Refuse = (keyword: string, why: string) => Error;

const digit = (from: number, to: number): Node => chars([48 + from, 48 + to]);
const some = (min: number, max = Infinity): Node => repeat(digit(0, 9), min, max);
const minus = text("-");
const positive = (max: number): Node => sequence(digit(1, 9), some(0, max - 1));

/** The node of a form's numbers. `name` is a prefix for rules. */
export function numberNode(form: NumberForm, name: string, define: Define, refuse: Refuse): Node {
  const { low, high, divisors } = form;
  const bounded = low > -Infinity || high < Infinity;
  if (divisors.length) return multiples(form, name, define, refuse);
  if (form.integer) return integers(form);
  if (bounded) return decimals(form);
  const fraction = sequence(text("."), some(1));
  const power = choice(some(1, 2), sequence(digit(1, 2), some(2, 2)), sequence(text("30"), digit(0, 7)));
  const sign = optional(chars([43, 43], [45, 45]));
  return sequence(
    optional(minus),
    choice(
      sequence(choice(text("0"), positive(DIGITS)), optional(fraction)),
      sequence(digit(1, 9), optional(fraction), chars([69, 69], [101, 101]), sign, power),
    ),
  );
}

/** The least and the greatest integer of the form. */
function integerBounds({ low, lowOpen, high, highOpen }: NumberForm): [bigint | undefined, bigint | undefined] {
  // Where doubles are farther apart than 1, the next one is a relative step away.
  const next = (bound: number, up: 1 | -1) =>
    Math.abs(bound) < 2 ** 53 ? bound + up : bound + up * Math.abs(bound) * 2 ** -52;
  const least = lowOpen && Number.isInteger(low) ? next(low, 1) : Math.ceil(low);
  const most = highOpen && Number.isInteger(high) ? next(high, -1) : Math.floor(high);
  return [Number.isFinite(least) ? BigInt(least) : undefined, Number.isFinite(most) ? BigInt(most) : undefined];
}

function integers(form: NumberForm): Node {
  const [least, most] = integerBounds(form);
  if (least !== undefined && most !== undefined && least > most) return NOTHING;
  const at = (value: bigint | undefined) => value?.toString();
  const parts: Node[] = [];
  if (most === undefined || most >= 0n)
    parts.push(wholes(at(least !== undefined && least > 0n ? least : 0n)!, at(most)));
  if (least === undefined || least < 0n)
    parts.push(sequence(minus, wholes(at(most !== undefined && most < 0n ? -most : 1n)!, at(least && -least))));
  return choice(...parts);
}

/** Integers between two that are written without sign, both included. */
function wholes(low: string, high: string | undefined): Node {
  const parts: Node[] = [];
  const last = high?.length ?? low.length + 1;
  for (let length = low.length; length <= last; length++) {
    if (length === low.length || length === high?.length)
      parts.push(sameLength(length === low.length ? low : undefined, length === high?.length ? high : undefined));
    else {
      const longest = high === undefined ? Math.max(DIGITS, length) : last - 1;
      parts.push(sequence(digit(1, 9), some(length - 1, longest - 1)));
      length = longest;
    }
  }
  return choice(...parts);
}

/** Integers of as many digits as the bounds have, of which at least one is given. */
function sameLength(low: string | undefined, high: string | undefined, i = 0): Node {
  const length = (low ?? high)!.length;
  if (i === length) return EMPTY;
  if (!low && !high) return some(length - i, length - i);
  const from = low ? Number(low[i]) : i === 0 && length > 1 ? 1 : 0;
  const to = high ? Number(high[i]) : 9;
  return edges(low !== undefined, high !== undefined, from, to, (tightLow, tightHigh) =>
    !tightLow && !tightHigh
      ? some(length - i - 1, length - i - 1)
      : sameLength(tightLow ? low : undefined, tightHigh ? high : undefined, i + 1),
  );
}

/** One digit between two, and what follows it: the bounds go on where it is theirs. */
function edges(
  low: boolean,
  high: boolean,
  from: number,
  to: number,
  then: (low: boolean, high: boolean) => Node,
): Node {
  if (from > to) return NOTHING;
  if (low && high && from === to) return sequence(digit(from, to), then(true, true));
  const parts: Node[] = [];
  if (low) parts.push(sequence(digit(from, from), then(true, false)));
  const [first, last] = [low ? from + 1 : from, high ? to - 1 : to];
  if (first <= last) parts.push(sequence(digit(first, last), then(false, false)));
  if (high) parts.push(sequence(digit(to, to), then(false, true)));
  return choice(...parts);
}

interface Bound {
  readonly whole: string;
  readonly fraction: string;
  readonly open: boolean;
}

/** Decimals of up to so many places. */
function decimals({ low, lowOpen, high, highOpen }: NumberForm, places = Infinity): Node {
  const parts: Node[] = [];
  const bound = (value: number, open: boolean): Bound => ({ ...plainDigits(Math.abs(value)), open });
  if (high > 0 || (high === 0 && !highOpen))
    parts.push(
      magnitudes(
        low >= 0 ? bound(low, lowOpen) : bound(0, false),
        high === Infinity ? undefined : bound(high, highOpen),
        places,
      ),
    );
  if (low < 0)
    parts.push(
      sequence(
        minus,
        magnitudes(
          high <= 0 ? bound(high, highOpen) : bound(0, false),
          low === -Infinity ? undefined : bound(low, lowOpen),
          places,
        ),
      ),
    );
  return choice(...parts);
}

/** Decimals without sign between two bounds. */
function magnitudes(low: Bound, high: Bound | undefined, most: number): Node {
  // Next to a bound that is left out, more digits than a double tells apart could come to the bound itself.
  let places = most;
  for (const { whole, fraction, open } of [low, ...(high ? [high] : [])])
    if (open && whole !== "0") places = Math.min(places, Math.max(0, EXACT - whole.length));
    else if (open && fraction !== "") places = Math.min(places, EXACT + /^0*/.exec(fraction)![0].length);
  const between = (a: Bound | undefined, b: Bound | undefined) => fractions(a, b, 0, places);
  if (high && low.whole === high.whole) return sequence(text(low.whole), between(low, high));
  const parts = [sequence(text(low.whole), between(low, undefined))];
  const above = (BigInt(low.whole) + 1n).toString();
  if (!high) parts.push(sequence(wholes(above, undefined), between(undefined, undefined)));
  else {
    const below = BigInt(high.whole) - 1n;
    if (BigInt(above) <= below) parts.push(sequence(wholes(above, below.toString()), between(undefined, undefined)));
    parts.push(sequence(text(high.whole), between(undefined, high)));
  }
  return choice(...parts);
}

/** What follows the integer part, from the i-th place on; `i` is 0 before the point. */
function fractions(low: Bound | undefined, high: Bound | undefined, i: number, places: number): Node {
  if (!low && !high && places === 0) return EMPTY;
  if (!low && !high) return i === 0 ? optional(sequence(text("."), some(1, places))) : some(0, places - i);
  const ends = (!low || (i >= low.fraction.length && !low.open)) && (!high || i < high.fraction.length || !high.open);
  const end = ends ? EMPTY : NOTHING;
  if (i >= places) return end;
  const lowDone = !low || i >= low.fraction.length;
  const highDone = !high || i >= high.fraction.length;
  const point = i === 0 ? text(".") : EMPTY;
  if (lowDone && highDone && !Number.isFinite(places)) {
    if (high) return low?.open || high.open ? NOTHING : choice(EMPTY, sequence(point, repeat(text("0"), i ? 0 : 1)));
    const zeros = repeat(text("0"), 0);
    const more = low?.open ? sequence(zeros, digit(1, 9), some(0)) : some(i ? 0 : 1);
    return low?.open ? sequence(point, more) : choice(EMPTY, sequence(point, more));
  }
  const from = low ? Number(low.fraction[i] ?? 0) : 0;
  const to = high ? Number(high.fraction[i] ?? 0) : 9;
  const next = edges(low !== undefined, high !== undefined, from, to, (tightLow, tightHigh) =>
    fractions(tightLow ? low : undefined, tightHigh ? high : undefined, i + 1, places),
  );
  return choice(end, sequence(point, next));
}

/** Multiples of at most 15 digits, so that JSON.parse reads what was written. */
function multiples(form: NumberForm, name: string, define: Define, refuse: Refuse): Node {
  const { low, lowOpen, high, highOpen, integer } = form;
  const divisors = [...form.divisors, ...(integer ? [1] : [])];
  const divisor = divisors.map(decimal).reduce(leastCommon);
  const size = Number(`${divisor.digits}e${divisor.exponent}`);
  if (divisor.digits === 1n && divisor.exponent <= 0) {
    const most = 10 ** Math.max(0, EXACT + divisor.exponent);
    const within = { ...form, integer: true, low: Math.max(low, -most), high: Math.min(high, most) };
    return divisor.exponent === 0 ? integers(within) : decimals(within, -divisor.exponent);
  }
  if (low > -Infinity && high < Infinity && (high - low) / size <= LISTED) {
    const values: string[] = [];
    const first = BigInt(Math.ceil(low / size) - 1);
    for (let i = 0n; i <= (high - low) / size + 2; i++) {
      const value = Number(`${(first + i) * divisor.digits}e${divisor.exponent}`);
      if (value < low || value > high || (lowOpen && value === low) || (highOpen && value === high)) continue;
      if (divisors.every((one) => isMultiple(value, one))) values.push(JSON.stringify(value === 0 ? 0 : value));
    }
    return values.length ? oneOfTexts(values) : NOTHING;
  }
  if (high < Infinity || (low !== 0 && low > -Infinity))
    throw refuse("multipleOf", "is not supported together with a wide range.");
  const zero = low === 0 && lowOpen ? NOTHING : text("0");
  const step = multiplesOf(divisor, zero === NOTHING, name, define, refuse);
  return low === 0 ? choice(zero, step) : choice(zero, sequence(optional(minus), step));
}

function leastCommon(a: Decimal, b: Decimal): Decimal {
  const exponent = Math.min(a.exponent, b.exponent);
  const scaled = ({ digits, exponent: own }: Decimal) => digits * 10n ** BigInt(own - exponent);
  let [x, y] = [scaled(a), scaled(b)];
  const product = x * y;
  while (y) [x, y] = [y, x % y];
  return trimmed(product / x, exponent);
}

/** The multiples above 0. */
function multiplesOf(
  { digits, exponent }: Decimal,
  aboveZero: boolean,
  name: string,
  define: Define,
  refuse: Refuse,
): Node {
  const modulus = Number(digits);
  if (modulus > REMAINDERS || exponent > EXACT || exponent < -EXACT)
    throw refuse("multipleOf", `is supported up to ${REMAINDERS}, powers of ten apart.`);
  const places = Math.max(0, -exponent);
  if (places && aboveZero) throw refuse("multipleOf", "is not supported for fractions above 0.");
  const length = EXACT - Math.abs(exponent);
  const at = (remainder: number, used: number, place: number) => `${name}r${remainder}.${used}.${place}`;
  // What the remainder comes to when the places that are left are zeros.
  const padded = (remainder: number, place: number) => (remainder * 10 ** (places - place)) % modulus === 0;
  const done = text("0".repeat(Math.max(0, exponent)));
  const follow = (remainder: number, used: number, place: number, first = 0): Node[] => {
    const next = new Map<number, number[]>();
    for (let d = first; d <= 9; d++) {
      const then = (remainder * 10 + d) % modulus;
      next.set(then, [...(next.get(then) ?? []), 48 + d]);
    }
    return [...next].map(([then, codes]) =>
      sequence(chars(...codes.map((code) => [code, code] as const)), rule(at(then, used, place))),
    );
  };
  for (let remainder = 0; remainder < modulus; remainder++) {
    for (let place = 1; place <= places; place++) {
      const more = place < places ? follow(remainder, 0, place + 1) : [];
      define(at(remainder, 0, place), choice(...(padded(remainder, place) ? [EMPTY] : []), ...more));
    }
    for (let used = 1; used <= Math.max(1, length); used++) {
      const more = used < length ? follow(remainder, used + 1, 0) : [];
      if (padded(remainder, 0)) more.push(done);
      if (places) more.push(sequence(text("."), choice(...follow(remainder, 0, 1))));
      define(at(remainder, used, 0), choice(...more));
    }
  }
  const wholes = choice(...follow(0, 1, 0, 1));
  return places ? choice(wholes, sequence(text("0."), choice(...follow(0, 0, 1)))) : wholes;
}
