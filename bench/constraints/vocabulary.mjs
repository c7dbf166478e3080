// A tokenizer.json as web-xgrammar takes it, and an encoder for JSON text that needs no other library.
import fs from "node:fs";

/** The tokens by id, how the library must decode them, and the bytes of each. */
export function vocabulary(file) {
  const { model, added_tokens: added, decoder } = JSON.parse(fs.readFileSync(file, "utf8"));
  const tokens = [];
  for (const [token, id] of Object.entries(model.vocab)) tokens[id] = token;
  for (const { id, content } of added) tokens[id] = content;
  for (let id = 0; id < tokens.length; id++) tokens[id] ??= "";
  const type = JSON.stringify(decoder).includes('"ByteFallback"') ? "byte_fallback" : "byte_level";
  const special = new Set(added.filter((token) => token.special).map((token) => token.id));
  return { tokens, type, special, encode: encoder(tokens, type, special) };
}

/** Longest match, not the model's merges: the tokens of a text are real ones, and so are the states they lead to. */
function encoder(tokens, type, special) {
  const ids = new Map();
  tokens.forEach((token, id) => {
    if (!special.has(id)) ids.set(token, id);
  });
  const longest = tokens.reduce((most, { length }) => Math.max(most, length), 0);
  const letters = byteLetters();
  return (text) => {
    const spelled =
      type === "byte_level" ? [...Buffer.from(text)].map((byte) => letters[byte]).join("") : text.replaceAll(" ", "▁");
    const found = [];
    for (let at = 0; at < spelled.length; ) {
      let length = Math.min(longest, spelled.length - at);
      while (length > 1 && !ids.has(spelled.slice(at, at + length))) length--;
      found.push(ids.get(spelled.slice(at, at + length)));
      at += length;
    }
    return found;
  };
}

/** GPT-2's letters for the 256 bytes. */
function byteLetters() {
  const plain = (byte) => (byte > 32 && byte < 127) || (byte > 160 && byte < 256 && byte !== 173);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(plain(byte) ? byte : next++));
}
