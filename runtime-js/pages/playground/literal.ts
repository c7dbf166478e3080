// Writes values as JavaScript, short ones on a line.

const WIDTH = 96;

/** A value of JSON, or one with files, as a literal whose further lines are indented by `indent`. */
export function literal(value: unknown, indent = "", room = WIDTH): string {
  const flat = inLine(value);
  if (typeof value !== "object" || value === null || value instanceof Blob || flat.length + indent.length <= room)
    return flat;
  const inner = `${indent}  `;
  const lines = Array.isArray(value)
    ? value.map((item) => literal(item, inner))
    : entries(value).map(([key, item]) => `${key}: ${literal(item, inner, WIDTH - key.length - 2)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return `${open}\n${lines.map((line) => `${inner}${line},\n`).join("")}${indent}${close}`;
}

function inLine(value: unknown): string {
  // Who runs the program puts the picture beside it.
  if (value instanceof Blob)
    return `await fetch(${inLine(`./${(value as File).name ?? "picture"}`)}).then((found) => found.blob())`;
  if (Array.isArray(value)) return `[${value.map(inLine).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    const fields = entries(value).map(([key, item]) => `${key}: ${inLine(item)}`);
    return fields.length > 0 ? `{ ${fields.join(", ")} }` : "{}";
  }
  // A script in a page ends at its first </script, wherever that stands.
  return JSON.stringify(value).replace(/<(?=\/script|!--)/gi, "\\x3c");
}

/** Fields that are there, with keys as JavaScript writes them. `__proto__` would set the prototype. */
function entries(value: object): [string, unknown][] {
  return Object.entries(value)
    .filter(([, item]) => item !== undefined)
    .map(([key, item]) => {
      if (key === "__proto__") return [`["${key}"]`, item];
      return [/^[A-Za-z_$][\w$]*$/.test(key) ? key : inLine(key), item];
    });
}
