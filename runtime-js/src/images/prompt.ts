// Writes what stands for pictures in a prompt: as many special tokens as the model gets rows, and what is around them.
import { InvalidRequestError } from "../errors.js";
import { type ImageFacts, rowsOfTile } from "./facts.js";
import type { Tiles } from "./tiles.js";

type Grid = Pick<Tiles, "rows" | "columns">;

/** What stands for one picture. */
export function picturePrompt(facts: ImageFacts, { rows, columns }: Grid): string {
  const { tile, row_end, before_whole, whole, end } = facts.prompt;
  const each = facts.row.repeat(rowsOfTile(facts));
  let text = "";
  for (let row = 1; row <= rows; row++) {
    for (let column = 1; column <= columns; column++)
      text += tile.replaceAll("{row}", String(row)).replaceAll("{column}", String(column)) + each;
    text += row_end;
  }
  return text + (rows > 0 ? before_whole : "") + whole + each + end;
}

/** A rendered chat with its pictures in their places. Throws InvalidRequestError where the places are not as many as
 * the pictures: nobody could tell which is which. */
export function expandPictures(rendered: string, facts: ImageFacts, pictures: readonly Grid[]): string {
  const { token, row } = facts;
  if (row !== token && rendered.includes(row)) throw misplaced(`a text has ${row}, which stands for pictures.`, row);
  const texts = rendered.split(token);
  const places = texts.length - 1;
  if (places > pictures.length) throw misplaced(`a text has ${token}, which stands for pictures.`, token);
  if (places < pictures.length)
    throw new InvalidRequestError(
      "messages",
      `the model's chat template has places for ${places} of the ${pictures.length} pictures.`,
      "Put pictures into messages of the user, before their text.",
    );
  return texts.map((text, i) => (i === 0 ? text : picturePrompt(facts, pictures[i - 1]!) + text)).join("");
}

function misplaced(message: string, token: string): InvalidRequestError {
  return new InvalidRequestError(
    "messages",
    message,
    `Take ${token} out of what the messages say, and give pictures as parts of a message's content.`,
  );
}
