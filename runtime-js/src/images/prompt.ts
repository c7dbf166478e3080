// Writes what stands for pictures in a prompt: as many special tokens as the model gets rows, and what is around them.
import { InvalidRequestError } from "../errors.js";
import { type ImageFacts, rowsOfShape, shapeOf, sizeOf } from "./facts.js";
import type { Tiles } from "./tiles.js";

type Grid = Pick<Tiles, "rows" | "columns" | "size">;

/** What stands for one picture. */
export function picturePrompt(facts: ImageFacts, { rows, columns, size }: Grid): string {
  const { tile, row_end, before_whole, whole, end } = facts.prompt;
  const each = facts.row.repeat(rowsOfShape(shapeOf(sizeOf(facts, size), facts), facts));
  let text = "";
  for (let row = 1; row <= rows; row++) {
    for (let column = 1; column <= columns; column++)
      text += tile.replaceAll("{row}", String(row)).replaceAll("{column}", String(column)) + each;
    text += row_end;
  }
  return text + (rows > 0 ? before_whole : "") + whole + each + end;
}

/** A rendered chat with its pictures in their places. Throws as `checkPlaces` does. */
export function expandPictures(rendered: string, facts: ImageFacts, pictures: readonly Grid[]): string {
  checkPlaces(rendered, facts, pictures.length);
  return rendered
    .split(facts.token)
    .map((text, i) => (i === 0 ? text : picturePrompt(facts, pictures[i - 1]!) + text))
    .join("");
}

/** Throws InvalidRequestError where a rendered chat has not as many places for pictures as there are: nobody could tell
 * which is whose. */
export function checkPlaces(rendered: string, { token, row }: ImageFacts, pictures: number): void {
  const places = rendered.split(token).length - 1;
  const stray = places > pictures ? token : row !== token && rendered.includes(row) ? row : undefined;
  if (stray !== undefined)
    throw new InvalidRequestError(
      "messages",
      `a text has ${stray}, which stands for pictures.`,
      `Take ${stray} out of what the messages say, and give pictures as parts of a message's content.`,
    );
  if (places < pictures)
    throw new InvalidRequestError(
      "messages",
      `the model's chat template has places for ${places} of the ${pictures} pictures.`,
      "Put pictures into messages of the user.",
    );
}
