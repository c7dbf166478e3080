// Reads calls whose arguments are texts between tags, as Qwen3-Coder's and GLM's are.
import { type CallContext, readName } from "./call_json.js";
import { type Parser, partsOf } from "./input.js";

/** Returns whether it is a call. Each argument is given when it ends. */
export function* readTaggedCall({ input, out, syntax, tools }: CallContext): Parser<boolean> {
  const name = yield* readName(input);
  const parameters = tools.get(name);
  if (parameters === undefined || !(yield* input.takeMarker(partsOf(syntax.name_end)))) return false;
  const keyBegin = partsOf(syntax.key_begin);
  const keyEnd = partsOf(syntax.key_end);
  const valueEnd = partsOf(syntax.value_end);
  out.open(name);
  out.argue("{");
  for (let separator = ""; yield* input.takeMarker(keyBegin); separator = ", ") {
    let key = "";
    if ((yield* input.until([keyEnd[0]!], (text) => (key += text))) < 0) return true;
    if (!(yield* input.takeMarker(keyEnd))) return true;
    let text = "";
    const whole = (yield* input.until([valueEnd[0]!], (more) => (text += more))) >= 0;
    const value = typed(unwrapped(text, syntax.key_end!, whole ? syntax.value_end! : ""), schemaOf(parameters, key));
    const json = JSON.stringify(value);
    const cut = !whole && typeof value === "string";
    out.argue(`${separator}${JSON.stringify(key.trim())}: ${cut ? json.slice(0, -1) : json}`);
    if (!whole) return true;
    yield* input.takeMarker(valueEnd);
  }
  // An answer that is cut here goes on nowhere: its object stays open, as its text does.
  if ((yield* input.peek()) !== undefined) out.argue("}");
  return true;
}

/** Without the line breaks that belong to the markers. */
function unwrapped(text: string, before: string, after: string): string {
  const lead = /\s*$/.exec(before)![0];
  const trail = /^\s*/.exec(after)![0];
  const start = lead && text.startsWith(lead) ? lead.length : 0;
  return text.slice(start, trail && text.endsWith(trail) ? Math.max(start, text.length - trail.length) : undefined);
}

function schemaOf(parameters: object, key: string): { type?: unknown } {
  const { properties } = parameters as { properties?: Record<string, { type?: unknown } | undefined> };
  return (properties && Object.hasOwn(properties, key.trim()) && properties[key.trim()]) || {};
}

/** A text is what the tool's schema says; without a type, JSON where it is some. */
function typed(text: string, { type }: { type?: unknown }): unknown {
  if (type === "string") return text;
  const word = ({ True: "true", False: "false", None: "null" } as Record<string, string>)[text.trim()] ?? text;
  try {
    return JSON.parse(word) as unknown;
  } catch {
    return text;
  }
}
