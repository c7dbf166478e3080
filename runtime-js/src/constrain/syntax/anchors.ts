// Combines parts of a regular expression in which ^ and $ may occur: what they match depends on where they stand.
import { EMPTY, NOTHING, type Node } from "../grammar.js";
import { either, isEmpty, isNothing, joined, nullable, repeated } from "./simplify.js";

/** One node, or with ^ or $ four: inside of the text, at its end, at its start, at both. */
export interface Piece {
  readonly nodes: readonly Node[];
  /** ^ occurs. */
  readonly head: boolean;
  /** $ occurs. */
  readonly tail: boolean;
}

export const plain = (node: Node): Piece => ({ nodes: [node], head: false, tail: false });
export const HEAD: Piece = { nodes: [NOTHING, NOTHING, EMPTY, EMPTY], head: true, tail: false };
export const TAIL: Piece = { nodes: [NOTHING, EMPTY, NOTHING, EMPTY], head: false, tail: true };

const at = ({ nodes }: Piece, start: boolean, end: boolean): Node =>
  nodes[nodes.length === 1 ? 0 : (start ? 2 : 0) + (end ? 1 : 0)]!;

function combined(pieces: readonly Piece[], node: (start: boolean, end: boolean) => Node): Piece {
  const head = pieces.some((piece) => piece.head),
    tail = pieces.some((piece) => piece.tail);
  if (!head && !tail) return plain(node(false, false));
  return { nodes: [node(false, false), node(false, true), node(true, false), node(true, true)], head, tail };
}

export const oneOf = (pieces: readonly Piece[]): Piece =>
  combined(pieces, (start, end) => either(pieces.map((piece) => at(piece, start, end))));

/** For each piece, whether it stands where the first does; undefined if a piece before may be empty or not. */
function places(pieces: readonly Piece[]): (boolean | undefined)[] {
  let place: boolean | undefined = true;
  return pieces.map((piece) => {
    const here = place;
    if (!piece.nodes.some((node) => nullable(node))) place = false;
    else if (place && !piece.nodes.every((node) => isEmpty(node) || isNothing(node))) place = undefined;
    return here;
  });
}

/** One after the other; undefined if it depends on the text whether a ^ or $ is at the text's end. */
export function inOrder(pieces: readonly Piece[]): Piece | undefined {
  if (pieces.every((piece) => piece.nodes.length === 1)) return plain(joined(pieces.map((piece) => piece.nodes[0]!)));
  const starts = places(pieces),
    ends = places([...pieces].reverse()).reverse();
  if (pieces.some(({ head, tail }, i) => (head && starts[i] === undefined) || (tail && ends[i] === undefined)))
    return undefined;
  return combined(pieces, (start, end) =>
    joined(pieces.map((piece, i) => at(piece, start && starts[i] === true, end && ends[i] === true))),
  );
}

/** undefined if ^ or $ would be repeated. */
export function times(piece: Piece, min: number, max: number): Piece | undefined {
  if (piece.nodes.length > 1 && max > 1) return undefined;
  return combined([piece], (start, end) => repeated(at(piece, start, end), min, max));
}

export const whole = (piece: Piece): Node => at(piece, true, true);

/** The piece anywhere in a text. At an end of the text it matches at least what it does inside. */
export function anywhere(piece: Piece, any: Node): Node {
  if (nullable(at(piece, false, false))) return any;
  const from = (end: boolean): Node => {
    const later = joined([any, at(piece, false, end)]);
    return piece.head ? either([at(piece, true, end), later]) : later;
  };
  const early = joined([from(false), any]);
  return piece.tail ? either([from(true), early]) : early;
}
