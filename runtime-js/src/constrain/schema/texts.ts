// One of many texts, as a tree: what two of them begin with is there once.
import { choice, EMPTY, type Node, sequence, text } from "../grammar.js";

export function oneOfTexts(texts: readonly string[]): Node {
  return tree([...new Set(texts)].sort(), 0, 0);
}

/** The texts are sorted and alike up to `at`. */
function tree(texts: readonly string[], at: number, depth: number): Node {
  if (texts.length === 1) return text(texts[0]!.slice(at));
  const [first, last] = [texts[0]!, texts.at(-1)!];
  let shared = at;
  while (shared < first.length && first[shared] === last[shared]) shared++;
  // No cut within a surrogate pair.
  if (shared > at && isHigh(first.charCodeAt(shared - 1))) shared--;
  const head = text(first.slice(at, shared));
  if (depth > 200) return choice(...texts.map((value) => text(value.slice(at))));
  const groups: string[][] = [];
  const branches: Node[] = [];
  for (const value of texts) {
    const mark = String.fromCodePoint(value.codePointAt(shared) ?? 0);
    const group = groups.at(-1);
    if (value.length === shared) branches.push(EMPTY);
    else if (group?.[0]?.startsWith(mark, shared)) group.push(value);
    else groups.push([value]);
  }
  for (const group of groups) branches.push(tree(group, shared, depth + 1));
  return sequence(head, choice(...branches));
}

const isHigh = (unit: number): boolean => unit >= 0xd800 && unit < 0xdc00;
