// Writes floats as Python does: with the shortest digits for repr, and otherwise with digits of the exact value, ties
// to even.

/** repr(): `1.0`, `1e-05`, `1e+16`, `inf`. */
export function floatRepr(value: number): string {
  if (!Number.isFinite(value)) return nonFinite(value);
  const [digits, exponent] = value.toExponential().split("e") as [string, string];
  const power = Number(exponent);
  if (power < -4 || power >= 16) return `${digits}e${twoDigits(power)}`;
  const text = String(value);
  return Object.is(value, -0) ? "-0.0" : text.includes(".") ? text : `${text}.0`;
}

/** `%.<places>f`, for any number of places that a template may ask for. */
export function fixed(value: number, places: number): string {
  if (!Number.isFinite(value)) return nonFinite(value);
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  const size = Math.abs(value);
  if (size >= 1e21) return `${sign}${BigInt(size)}${places > 0 ? `.${"0".repeat(places)}` : ""}`;
  const exact = Math.min(places, 100);
  const rounded = size.toFixed(exact);
  const long = size.toFixed(Math.min(100, exact + 40));
  const point = long.indexOf(".");
  const cut = exact === 0 ? long.slice(0, point) : long.slice(0, point + 1 + exact);
  const tie = point >= 0 && /^50*$/.test(long.slice(point + 1 + exact));
  return sign + (tie && isEven(cut) ? cut : rounded) + "0".repeat(places - exact);
}

/** `%.<places>e`. */
export function exponential(value: number, places: number): string {
  if (!Number.isFinite(value)) return nonFinite(value);
  const exact = Math.min(places, 100);
  const rounded = value.toExponential(exact);
  const [long, longPower] = value.toExponential(Math.min(100, exact + 40)).split("e") as [string, string];
  const start = long.indexOf(".") + 1;
  const cut = exact === 0 ? long.slice(0, start - 1) : long.slice(0, start + exact);
  const even = /^50*$/.test(long.slice(start + exact)) && isEven(cut);
  const [digits, power] = even ? [cut, longPower] : (rounded.split("e") as [string, string]);
  const filled = digits + "0".repeat(places - exact);
  return `${Object.is(value, -0) ? "-" : ""}${filled}e${twoDigits(Number(power))}`;
}

/** `%.<digits>g`, with trailing zeros where `keep` says so. */
export function general(value: number, digits: number, keep = false): string {
  if (!Number.isFinite(value)) return nonFinite(value);
  const significant = Math.max(1, digits);
  const [mantissa, exponent] = exponential(value, significant - 1).split("e") as [string, string];
  const power = Number(exponent);
  const plain = power >= -4 && power < significant;
  const text = plain ? fixed(value, significant - 1 - power) : mantissa;
  const short = keep || !text.includes(".") ? text : text.replace(/\.?0+$/, "");
  return plain ? short : `${short}e${twoDigits(power)}`;
}

/** round(): half to even, of the exact value. */
export function round(value: number, places: number): number {
  if (!Number.isFinite(value)) return value;
  if (places >= 0) return Number(fixed(value, places));
  const unit = 10 ** -places;
  return Number(fixed(value / unit, 0)) * unit;
}

function nonFinite(value: number): string {
  return Number.isNaN(value) ? "nan" : value < 0 ? "-inf" : "inf";
}
function isEven(digits: string): boolean {
  return /[02468]\.?$/.test(digits);
}
function twoDigits(power: number): string {
  return `${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}
