// Formats strings as Python does: `%`, str.format(), and the little language of their widths and precisions.
import { exponential, fixed, general } from "./numbers.js";
import { repr, str } from "./text.js";
import { asInteger, asNumber, Dict, Float, fail, type Named, NONE, Tuple, typeName, type Value } from "./values.js";

/** `format % values`: a tuple gives several, a dict gives them by name. */
export function percentFormat(format: string, values: Value): string {
  const list: readonly Value[] = values instanceof Tuple ? values : [values];
  let at = 0;
  const next = (): Value => (at < list.length ? list[at++]! : fail("not enough arguments for format string"));
  const text = format.replace(
    /%(?:\(([^)]*)\))?([-+ #0]*)(\*|\d+)?(?:\.(\*|\d*))?[hlL]?([\s\S]?)/g,
    (
      _,
      name: string | undefined,
      flags: string,
      width: string | undefined,
      precision: string | undefined,
      type: string,
    ) => {
      if (type === "%") return "%";
      let wide = width === "*" ? asInteger(next()) : Number(width ?? 0);
      const places = precision === undefined ? undefined : precision === "*" ? asInteger(next()) : Number(precision);
      const left = flags.includes("-") || wide < 0;
      wide = Math.abs(wide);
      const value =
        name === undefined
          ? next()
          : values instanceof Dict
            ? (values.get(name) ?? fail(`KeyError: ${repr(name)}`))
            : fail("format requires a mapping");
      const sign = flags.includes("+") ? "+" : flags.includes(" ") ? " " : "-";
      const body = converted(value, type, places, flags.includes("#"), sign);
      const zeros = flags.includes("0") && !left && !"srac".includes(type);
      return pad(body, wide, zeros ? "=" : left ? "<" : ">", zeros ? "0" : " ");
    },
  );
  const consumed = at >= list.length || values instanceof Dict || (Array.isArray(values) && !(values instanceof Tuple));
  return consumed ? text : fail("not all arguments converted during string formatting");
}

function converted(value: Value, type: string, places: number | undefined, alternate: boolean, sign: string): string {
  const cut = (text: string): string => (places === undefined ? text : [...text].slice(0, places).join(""));
  switch (type) {
    case "s":
      return cut(str(value));
    case "r":
      return cut(repr(value));
    case "a":
      return cut(repr(value).replace(/[^\0-\x7f]/gu, (c) => escaped(c.codePointAt(0)!)));
    case "c":
      return typeof value === "string" && [...value].length === 1 ? value : String.fromCodePoint(asInteger(value));
    case "d":
    case "i":
    case "u": {
      const number = asNumber(value) ?? fail(`%${type} format: a real number is required, not ${typeName(value)}`);
      const text = whole(number, "d", false, sign);
      return places === undefined ? text : text.replace(/\d+/, (digits) => digits.padStart(places, "0"));
    }
    case "x":
    case "X":
    case "o":
      return whole(asInteger(value), type, alternate, sign);
    case "e":
    case "E":
    case "f":
    case "F":
    case "g":
    case "G":
      return real(
        asNumber(value) ?? fail(`must be real number, not ${typeName(value)}`),
        type,
        places ?? 6,
        sign,
        alternate,
      );
  }
  return fail(type === "" ? "incomplete format" : `unsupported format character '${type}'`);
}

function escaped(code: number): string {
  const digits = code.toString(16);
  return digits.length < 3
    ? `\\x${digits}`
    : digits.length < 5
      ? `\\u${digits.padStart(4, "0")}`
      : `\\U${digits.padStart(8, "0")}`;
}

function signed(negative: boolean, sign: string): string {
  return negative ? "-" : sign === "-" ? "" : sign;
}

function whole(value: number, type: string, alternate: boolean, sign: string): string {
  if (!Number.isFinite(value))
    return fail(`cannot convert float ${Number.isNaN(value) ? "NaN" : "infinity"} to integer`);
  const base = { x: 16, X: 16, o: 8, b: 2 }[type] ?? 10;
  const digits = Math.abs(Math.trunc(value)).toString(base);
  return (
    signed(Math.trunc(value) < 0, sign) +
    (alternate && base !== 10 ? `0${type}` : "") +
    (type === "X" ? digits.toUpperCase() : digits)
  );
}

function real(value: number, type: string, places: number, sign: string, alternate = false): string {
  const lower = type.toLowerCase();
  const text =
    lower === "f"
      ? fixed(value, places)
      : lower === "e"
        ? exponential(value, places)
        : general(value, places, alternate);
  const body = text.replace(/^-/, "");
  return signed(text.startsWith("-"), sign) + (type === lower ? body : body.toUpperCase());
}

function pad(text: string, width: number, align: string, fill: string): string {
  const missing = width - [...text].length;
  if (missing <= 0) return text;
  if (align === "<") return text + fill.repeat(missing);
  if (align === "^") return fill.repeat(missing >> 1) + text + fill.repeat(missing - (missing >> 1));
  if (align === ">") return fill.repeat(missing) + text;
  const head = /^[-+ ]?(?:0[xXob])?/.exec(text)![0];
  return head + fill.repeat(missing) + text.slice(head.length);
}

/** str.format(); `field` reads `name.attribute[key]`'s steps as the sandbox does. */
export function braceFormat(
  format: string,
  args: readonly Value[],
  named: Named,
  step: (value: Value, name: string, attribute: boolean) => Value,
): string {
  let automatic = 0;
  const fields = (text: string, depth: number): string => {
    let formatted = "";
    for (let at = 0; at < text.length; ) {
      const character = text[at]!;
      if ((character === "{" || character === "}") && text[at + 1] === character) {
        formatted += character;
        at += 2;
      } else if (character === "{") {
        const end = closing(text, at);
        formatted += field(text.slice(at + 1, end), depth);
        at = end + 1;
      } else if (character === "}") fail("Single '}' encountered in format string");
      else {
        formatted += character;
        at++;
      }
    }
    return formatted;
  };
  const field = (text: string, depth: number): string => {
    const parts = /^([^.[!:]*)((?:\.[^.[!:]+|\[[^\]]+\])*)(?:!([rsa]))?(?::([\s\S]*))?$/.exec(text);
    if (!parts || depth > 1) return fail(`the format field {${text}} cannot be read`);
    const [, name = "", steps = "", conversion, spec = ""] = parts;
    const index = name === "" ? automatic++ : /^\d+$/.test(name) ? Number(name) : undefined;
    let value =
      (index === undefined ? named.get(name) : args[index]) ??
      (index === undefined
        ? fail(`KeyError: ${repr(name)}`)
        : index < args.length
          ? NONE
          : fail("Replacement index out of range"));
    for (const part of steps.match(/\.[^.[]+|\[[^\]]+\]/g) ?? [])
      value = step(value, part.startsWith(".") ? part.slice(1) : part.slice(1, -1), part.startsWith("."));
    if (conversion) value = converted(value, conversion, undefined, false, "-");
    return specFormat(value, fields(spec, depth + 1));
  };
  return fields(format, 0);
}

function closing(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    if (text[at] === "{") depth++;
    else if (text[at] === "}" && --depth === 0) return at;
  }
  return fail("expected '}' before end of string");
}

/** format(value, spec). */
function specFormat(value: Value, spec: string): string {
  if (spec === "") return str(value);
  const parts = /^(?:([\s\S])?([<>=^]))?([-+ ])?(#)?(0)?(\d+)?([,_])?(?:\.(\d+))?([a-zA-Z%])?$/u.exec(spec);
  if (!parts) return fail(`Invalid format specifier '${spec}'`);
  const [, fill, align, sign = "-", alternate, zero, width = "0", group, precision, type] = parts;
  const places = precision === undefined ? undefined : Number(precision);
  const number = asNumber(value);
  const padding = fill ?? (zero ? "0" : " ");
  if (typeof value === "string") {
    if ((type !== undefined && type !== "s") || sign !== "-" || group || alternate || align === "=")
      fail(`Invalid format specifier '${spec}' for object of type 'str'`);
    return pad(
      places === undefined ? value : [...value].slice(0, places).join(""),
      Number(width),
      align ?? "<",
      padding,
    );
  }
  if (number === undefined || (typeof value === "boolean" && type === undefined))
    return fail(`unsupported format string passed to ${typeName(value)}.__format__`);
  let text: string;
  if (type === "%") text = `${real(number * 100, "f", places ?? 6, sign)}%`;
  else if (type !== undefined && "eEfFgG".includes(type))
    text = real(number, type, places ?? 6, sign, alternate !== undefined);
  else if (value instanceof Float) {
    if (type !== undefined) fail(`Unknown format code '${type}' for object of type 'float'`);
    text =
      places === undefined
        ? signed(number < 0, sign) + str(new Float(Math.abs(number)))
        : signedGeneral(number, places, sign);
  } else if (type === "c") text = String.fromCodePoint(number);
  else if (places !== undefined || !"bdoxXn".includes(type ?? "d"))
    return fail(`Invalid format specifier '${spec}' for object of type 'int'`);
  else text = whole(number, type ?? "d", alternate !== undefined, sign);
  if (group) text = text.replace(/\d+/, (digits) => digits.replace(/\B(?=(\d{3})+$)/g, group));
  return pad(text, Number(width), align ?? (zero ? "=" : ">"), padding);
}

/** A float with a precision and no type: as `g`, with a digit after the point. */
function signedGeneral(number: number, places: number, sign: string): string {
  const text = real(number, "g", places, sign);
  return /[.en]/.test(text) ? text : `${text}.0`;
}
