// Declares Python's methods: functions of a value, checked for how many arguments they take.
import { asInteger, fail, type Named, type Value } from "./values.js";

export type Method<T> = (self: T, args: readonly Value[], named: Named) => Value;

/** A method of `minimum` to `maximum` arguments, none of them by name. */
export function plain<T>(
  name: string,
  minimum: number,
  maximum: number,
  body: (self: T, ...args: Value[]) => Value,
): Method<T> {
  return (self, args, named) => {
    if (named.size > 0) fail(`${name}() takes no keyword arguments`);
    if (args.length < minimum || args.length > maximum)
      fail(`${name}() takes ${minimum} to ${maximum} arguments, not ${args.length}`);
    return body(self, ...args);
  };
}

/** An index into items, counted from the end where it is negative. */
export function place(items: readonly unknown[], at: Value): number {
  const index = asInteger(at);
  return index < 0 ? Math.max(0, index + items.length) : Math.min(index, items.length);
}
