// Finds the field that a refused parameter comes from.
import { FORMAT_FIELDS } from "./request.js";
import { FIELDS, type FieldName, type Settings } from "./settings.js";

/** A field's key: its name, or `tools.` with the tool's number and part. undefined where no field is to blame. */
export function placeOf(param: string, settings: Settings): string | undefined {
  const tool = /^tools\[(\d+)\](?:\.function)?(?:\.(name|description|parameters))?/.exec(param);
  if (tool) return Number(tool[1]) < settings.tools.length ? `tools.${tool[1]}.${tool[2] ?? "name"}` : undefined;
  const head = /^\w+/.exec(param)?.[0] ?? "";
  if (head === "prompt") return head;
  if (head === "tools") return settings.tools.length > 0 ? "tool_choice" : undefined;
  if (head === "response_format")
    return (FORMAT_FIELDS as Record<string, FieldName>)[settings.format] ?? ("format" satisfies FieldName);
  if (head === "parallel_tool_calls") return "single";
  return FIELDS.find((name) => name === head);
}
