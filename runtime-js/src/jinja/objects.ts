// Defines the objects that templates find: `loop`, `namespace` and jinja2's other globals.
import { repr } from "./text.js";
import {
  asInteger,
  bind,
  type Callable,
  Dict,
  equal,
  fail,
  iterate,
  type Named,
  NONE,
  PyObject,
  Range,
  Undefined,
  type Value,
} from "./values.js";

/** `loop`: it looks one value ahead, and to the end only where the template asks how many there are. */
export class Loop extends PyObject {
  private readonly ahead: Value[] = [];
  private index = -1;
  private previous: Value | undefined;
  private current: Value | undefined;
  private shown: readonly Value[] | undefined;

  constructor(
    private readonly values: Iterator<Value>,
    private readonly depth: number,
    private readonly again: ((values: Value) => Value) | undefined,
  ) {
    super();
  }

  get value(): Value {
    return this.current!;
  }

  /** Whether there is a next value, which is `value` then. */
  advance(): boolean {
    const found = this.peek();
    if (found === undefined) return false;
    this.ahead.shift();
    [this.previous, this.current] = [this.current, found];
    this.index++;
    return true;
  }

  attribute(name: string): Value | undefined {
    switch (name) {
      case "index":
        return this.index + 1;
      case "index0":
        return this.index;
      case "revindex":
        return this.length() - this.index;
      case "revindex0":
        return this.length() - this.index - 1;
      case "first":
        return this.index === 0;
      case "last":
        return this.peek() === undefined;
      case "length":
        return this.length();
      case "depth":
        return this.depth + 1;
      case "depth0":
        return this.depth;
      case "previtem":
        return this.previous ?? new Undefined("there is no previous item");
      case "nextitem":
        return this.peek() ?? new Undefined("there is no next item");
      case "cycle":
        return (args) => args[this.index % args.length] ?? fail("no items for cycling given");
      case "changed":
        return (args) => {
          const same = this.shown !== undefined && equal([...this.shown], [...args]);
          this.shown = args;
          return !same;
        };
    }
    return undefined;
  }

  override call(args: readonly Value[], named: Named): Value {
    const [values] = bind("loop()", ["iterable"], args, named);
    if (!this.again) return fail("The loop must have the 'recursive' marker to be called recursively.");
    return this.again(values ?? fail("loop() lacks an argument"));
  }

  private peek(): Value | undefined {
    if (this.ahead.length === 0) {
      const step = this.values.next();
      if (!step.done) this.ahead.push(step.value);
    }
    return this.ahead[0];
  }

  private length(): number {
    for (let step = this.values.next(); !step.done; step = this.values.next()) this.ahead.push(step.value);
    return this.index + 1 + this.ahead.length;
  }
}

/** `namespace(…)`, whose attributes `set` may change. */
export class Namespace extends PyObject {
  constructor(readonly values: Dict) {
    super();
  }
  attribute(name: string): Value | undefined {
    return name === "__repr__" ? `<Namespace ${repr(this.values)}>` : this.values.get(name);
  }
}

class Cycler extends PyObject {
  private at = 0;
  constructor(private readonly items: readonly Value[]) {
    super();
    if (items.length === 0) fail("at least one item has to be provided");
  }
  attribute(name: string): Value | undefined {
    const current = this.items[this.at]!;
    if (name === "current") return current;
    if (name === "reset")
      return () => {
        this.at = 0;
        return NONE;
      };
    return name === "next"
      ? () => {
          this.at = (this.at + 1) % this.items.length;
          return current;
        }
      : undefined;
  }
}

/** A dict of the first argument's pairs and of the named ones. */
function dict(args: readonly Value[], named: Named): Dict {
  const [first] = args;
  const pairs =
    first === undefined
      ? []
      : first instanceof Dict
        ? first.items()
        : [...iterate(first)].map((pair) => [...iterate(pair)] as [Value, Value]);
  return new Dict([...pairs, ...named]);
}

/** Python's, of as many numbers as jinja2's sandbox admits. */
function range(args: readonly Value[]): Value {
  if (args.length < 1 || args.length > 3) fail(`range expected 1 to 3 arguments, got ${args.length}`);
  const [first, second, step = 1] = args.map(asInteger);
  const [start, stop] = second === undefined ? [0, first!] : [first!, second];
  if (step === 0) fail("range() arg 3 must not be zero");
  if ((stop - start) / step > 100_000) fail("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
  return new Range(start, stop, step);
}

export const GLOBALS: Readonly<Record<string, Callable>> = {
  range,
  dict,
  namespace: (args, named) => new Namespace(dict(args, named)),
  cycler: (args) => new Cycler(args),
  joiner: (args, named) => {
    const [separator = ", "] = bind("joiner()", ["sep"], args, named);
    let used = false;
    return () => {
      const found = used ? separator : "";
      used = true;
      return found;
    };
  },
  raise_exception: (args) => fail(String(args[0] ?? "")),
};
