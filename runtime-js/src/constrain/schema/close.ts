// Closes objects that do not say whether they may have other properties than theirs, as OpenAI's strict schemas must say
// and web-xgrammar takes for granted. What is left out is still valid, and a model that may add properties often does
// not end.
import { isObject, type Json, type JsonObject } from "./read.js";

const NESTED_ONE = ["items", "additionalProperties", "additionalItems"];
const NESTED_LIST = ["prefixItems", "items"];
const NESTED_MAP = ["properties", "patternProperties"];
/** With one of these beside them, properties are not all that an object may have. */
const OTHERS =
  "additionalProperties patternProperties unevaluatedProperties allOf anyOf oneOf not if $ref $dynamicRef dependentSchemas dependencies propertyNames minProperties".split(
    " ",
  );

/** The schema, closed. `mayClose`: nothing but this schema says what the value is. */
export function closed(schema: Json, mayClose = true): Json {
  if (!isObject(schema)) return schema;
  const copy = new Map<string, Json>(schema);
  const set = (key: string, change: (value: Json) => Json): void => {
    const value = copy.get(key);
    if (value !== undefined) copy.set(key, change(value));
  };
  for (const key of NESTED_ONE) set(key, (value) => (isObject(value) ? closed(value) : value));
  for (const key of NESTED_LIST) set(key, (value) => eachItem(value, true));
  for (const key of NESTED_MAP) set(key, (value) => eachMember(value, true));
  const alone = mayClose && !schema.has("properties") && !schema.has("required");
  for (const key of ["anyOf", "oneOf"]) set(key, (value) => eachItem(value, alone && !schema.has("allOf")));
  set("allOf", (value) => eachItem(value, false));
  // what is referred to may be one of several things that a value must be
  for (const key of ["$defs", "definitions"]) set(key, (value) => eachMember(value, refersAlone(schema)));
  if (mayClose && schema.has("properties") && !OTHERS.some((key) => schema.has(key)))
    copy.set("additionalProperties", false);
  return copy;
}

const eachItem = (value: Json, mayClose: boolean): Json =>
  Array.isArray(value) ? value.map((item: Json) => closed(item, mayClose)) : value;

const eachMember = (value: Json, mayClose: boolean): Json =>
  isObject(value) ? new Map([...value].map(([key, item]) => [key, closed(item, mayClose)])) : value;

/** Whether no reference in the schema stands in an allOf, or beside other keywords that say what an object has. */
function refersAlone(root: JsonObject): boolean {
  const todo: Json[] = [root];
  for (let value = todo.pop(); value !== undefined; value = todo.pop()) {
    if (Array.isArray(value)) todo.push(...value);
    if (!isObject(value)) continue;
    if (value.has("allOf") || value.has("not") || value.has("if")) return false;
    if (value.has("$ref") && (value.has("properties") || value.has("required") || value.has("anyOf"))) return false;
    todo.push(...value.values());
  }
  return true;
}
