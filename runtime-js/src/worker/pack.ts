// Takes signals and callbacks out of a call's arguments, and puts what stands for them in on the other side.
import { InvalidRequestError } from "../errors.js";
import { reasonToJson } from "./error_json.js";
import type { Path, SignalAt } from "./protocol.js";

type Callback = (...args: unknown[]) => void;

export interface Packed {
  /** Without signals and callbacks. */
  readonly args: unknown[];
  readonly signals: readonly { readonly path: Path; readonly signal: AbortSignal }[];
  readonly callbacks: readonly { readonly path: Path; readonly callback: Callback }[];
}

/** Looks at arguments, and at the fields of those that are objects. Throws InvalidRequestError for a function whose
 * name is not among `callbacks`. */
export function pack(args: readonly unknown[], callbacks: readonly string[]): Packed {
  const signals: { path: Path; signal: AbortSignal }[] = [];
  const called: { path: Path; callback: Callback }[] = [];
  const rest = args.map((arg, i) => {
    if (typeof arg !== "object" || arg === null || Array.isArray(arg) || ArrayBuffer.isView(arg)) return arg;
    return Object.fromEntries(
      Object.entries(arg).filter(([name, value]) => {
        if (value instanceof AbortSignal) signals.push({ path: [i, name], signal: value });
        else if (typeof value !== "function") return true;
        else if (callbacks.includes(name)) called.push({ path: [i, name], callback: value as Callback });
        else throw new InvalidRequestError(name, "is a function, which cannot cross to a worker.");
        return false;
      }),
    );
  });
  return { args: rest, signals, callbacks: called };
}

export const signalsAt = ({ signals }: Packed): SignalAt[] =>
  signals.map(({ path, signal: { aborted, reason } }) => ({ path, aborted, reason: aborted && reasonToJson(reason) }));

/** Puts a value at a path of the arguments that came. */
export function put(args: unknown[], [at, field]: Path, value: unknown): void {
  const arg = args[at];
  if (field === undefined) args[at] = value;
  else if (typeof arg === "object" && arg !== null)
    Object.defineProperty(arg, field, { value, enumerable: true, configurable: true, writable: true });
}
