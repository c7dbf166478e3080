// Exact decimals: what a double's shortest text says, so that bounds and divisors are what the schema's author wrote.

/** digits · 10^exponent; digits has no trailing zero. */
export interface Decimal {
  readonly digits: bigint;
  readonly exponent: number;
}

export function decimal(value: number): Decimal {
  const [mantissa, power] = value.toExponential().split("e") as [string, string];
  const [whole, fraction = ""] = mantissa.split(".") as [string, string?];
  return trimmed(BigInt(whole + fraction), Number(power) - fraction.length);
}

export function trimmed(digits: bigint, exponent: number): Decimal {
  if (digits === 0n) return { digits, exponent: 0 };
  const zeros = /0*$/.exec(digits.toString())![0].length;
  return { digits: digits / 10n ** BigInt(zeros), exponent: exponent + zeros };
}

export function isMultiple(value: number, divisor: number): boolean {
  const [a, b] = [decimal(value), decimal(divisor)];
  const shift = a.exponent - b.exponent;
  return (a.digits * 10n ** BigInt(Math.max(0, shift))) % (b.digits * 10n ** BigInt(Math.max(0, -shift))) === 0n;
}

/** A value of at least 0 as its digits before and after the point. */
export function plainDigits(value: number): { whole: string; fraction: string } {
  const { digits, exponent } = decimal(value);
  const all = digits.toString();
  if (exponent >= 0) return { whole: all + "0".repeat(all === "0" ? 0 : exponent), fraction: "" };
  const padded = all.padStart(1 - exponent, "0");
  return { whole: padded.slice(0, exponent), fraction: padded.slice(exponent) };
}
