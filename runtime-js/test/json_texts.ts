// Writes a value as grammars of schemas have it: ", " and ": ", integers plainly, and keys in any order.

/** The value's texts: first with keys in the order in which the schema names them, then in others, up to a limit. */
export function spellings(value: unknown, schema: unknown, limit = 200): string[] {
  const source = JSON.stringify(schema);
  const place = (key: string) => source.indexOf(`${JSON.stringify(key)}:`) + 1 || Number.MAX_SAFE_INTEGER;
  const write = (item: unknown): string[] => {
    if (typeof item === "number") return [number(item)];
    if (typeof item === "string") return [JSON.stringify(item).replaceAll("\u007f", "\u007f")];
    if (item === null || typeof item !== "object") return [JSON.stringify(item)];
    if (Array.isArray(item)) return combine(item.map(write)).map((items) => `[${items.join(", ")}]`);
    const keys = Object.keys(item).sort((a, b) => place(a) - place(b));
    const members = new Map(keys.map((key) => [key, write((item as Record<string, unknown>)[key])]));
    const texts: string[] = [];
    for (const order of orders(keys)) {
      const written = order.map((key) => members.get(key)!.map((text) => `${JSON.stringify(key)}: ${text}`));
      for (const parts of combine(written)) texts.push(`{${parts.join(", ")}}`);
      if (texts.length > limit) break;
    }
    return texts;
  };
  return write(value).slice(0, limit);
}

function number(value: number): string {
  return Number.isInteger(value) ? BigInt(value).toString() : JSON.stringify(value);
}

function combine(lists: readonly (readonly string[])[]): string[][] {
  let all: string[][] = [[]];
  for (const list of lists) all = all.slice(0, 200).flatMap((head) => list.map((item) => [...head, item]));
  return all;
}

function* orders(keys: readonly string[]): Generator<readonly string[]> {
  if (keys.length < 2) yield keys;
  else
    for (const [i, first] of keys.entries())
      for (const rest of orders(keys.filter((_, j) => j !== i))) yield [first, ...rest];
}
