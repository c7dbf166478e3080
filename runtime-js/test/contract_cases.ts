// The cases in tests/contract, made into documents (its README.md says how they are written).
import catalogCases from "../../tests/contract/catalog.json";
import good from "../../tests/contract/good.json";
import manifestCases from "../../tests/contract/manifest.json";
import planCases from "../../tests/contract/plan.json";
import validationCases from "../../tests/contract/validation.json";

export type Document = keyof typeof good;
export interface Case {
  readonly name: string;
  readonly do: readonly (readonly unknown[])[];
  readonly accepted?: boolean;
  readonly field?: string;
}

export const GOOD: Readonly<Record<Document, unknown>> = good;
export const CASES = {
  manifest: manifestCases,
  plan: planCases,
  validation: validationCases,
  catalog: catalogCases,
} as unknown as Readonly<Record<Document, readonly Case[]>>;

type Json = Record<string | number, unknown>;

/** The good document with the case's steps done to it, as JSON. */
export function made(document: Document, { do: steps }: Case): string {
  const root: Json = { "": structuredClone(GOOD[document]) };
  for (const [step, path, ...rest] of steps) {
    const keys = ["", ...(path as (string | number)[])],
      last = keys.pop()!;
    const at = keys.reduce((value, key) => value[key] as Json, root);
    // assigned, a key __proto__ would set the prototype
    const put = (value: unknown): unknown =>
      Object.defineProperty(at, last, { value, enumerable: true, configurable: true, writable: true });
    if (step === "remove") delete at[last];
    else if (step === "append") (at[last] as unknown[]).push(filledIn(rest[0], 0));
    else if (step === "fill") put(Array.from({ length: rest[0] as number }, (_, i) => filledIn(rest[1], i)));
    else if (step === "fill_keys") {
      const keyed = Array.from({ length: rest[0] as number }, (_, i) => [filledIn(rest[1], i), filledIn(rest[2], i)]);
      put(Object.fromEntries(keyed));
    } else if (step === "set") put(filledIn(rest[0], 0));
    else throw new Error(`no step is called ${String(step)}`);
  }
  return JSON.stringify(root[""]);
}

function filledIn(value: unknown, i: number): unknown {
  if (typeof value === "string") return value.replaceAll(`$\{i}`, String(i));
  if (Array.isArray(value)) return value.map((item) => filledIn(item, i));
  if (typeof value !== "object" || value === null) return value;
  const { index_times, repeat, times } = value as { index_times?: number; repeat?: string; times?: number };
  if (index_times !== undefined) return index_times * i;
  if (repeat !== undefined) return repeat.repeat(times!);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, filledIn(item, i)]));
}
