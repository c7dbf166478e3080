// Holds a vocabulary as a tree of bytes, in the order in which it is walked, so that tokens that begin alike are tried
// together.

/** Characters that a token of the tree has at most. Longer ones, which are rows of spaces or dashes, are left out: a
 * mask could tell far more counts of a repeat apart if they were there. */
export const LONGEST = 24;

export interface Trie {
  /** Of each node, its byte, how deep it lies (1 is the first byte), and the node after all that lie below it. */
  readonly byte: Uint8Array;
  readonly depth: Uint8Array;
  readonly after: Int32Array;
  /** A node's token, or -1; `alike` is another token of the same bytes, or -1. */
  readonly token: Int32Array;
  readonly alike: Int32Array;
}

/** `bytes` by token id, a character for each byte; undefined and the empty string are left out. */
export function makeTrie(bytes: readonly (string | undefined)[]): Trie {
  const ids: number[] = [];
  let room = 0;
  bytes.forEach((word, id) => {
    if (!word || word.replace(/[\x80-\xbf]/g, "").length > LONGEST) return;
    ids.push(id);
    room += word.length;
  });
  ids.sort((a, b) => (bytes[a]! < bytes[b]! ? -1 : bytes[a]! > bytes[b]! ? 1 : b - a));
  const byte = new Uint8Array(room),
    depth = new Uint8Array(room),
    after = new Int32Array(room),
    token = new Int32Array(room).fill(-1),
    alike = new Int32Array(bytes.length).fill(-1);
  const open: number[] = []; // the nodes that lead to the last word's end
  let nodes = 0,
    before = "";
  const close = (from: number): void => {
    while (open.length > from) after[open.pop()!] = nodes;
  };
  for (const id of ids) {
    const word = bytes[id]!;
    let common = 0;
    while (common < before.length && common < word.length && before[common] === word[common]) common++;
    close(common);
    for (let i = common; i < word.length; i++) {
      byte[nodes] = word.charCodeAt(i);
      depth[nodes] = i + 1;
      open.push(nodes++);
    }
    const end = open.at(-1)!;
    alike[id] = token[end]!;
    token[end] = id;
    before = word;
  }
  close(0);
  const cut = <T extends Uint8Array | Int32Array>(array: T): T => array.slice(0, nodes) as T;
  return { byte: cut(byte), depth: cut(depth), after: cut(after), token: cut(token), alike };
}
