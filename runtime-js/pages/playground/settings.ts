// What the playground's fields hold, and where a reload finds it again. A field is text as it was typed, also where it
// is no good: the engine judges it.

export interface ToolFields {
  name: string;
  description: string;
  parameters: string;
  /** What the model is told when it calls the tool. */
  result: string;
}

const EMPTY = {
  system: "",
  temperature: "",
  top_p: "",
  top_k: "",
  min_p: "",
  repetition_penalty: "",
  frequency_penalty: "",
  presence_penalty: "",
  seed: "",
  max_tokens: "",
  stop: "",
  format: "text",
  schema: "",
  regex: "",
  grammar: "",
  tool_choice: "auto",
  single: "",
  rounds: "",
  logprobs: "",
  top_logprobs: "",
};
export type FieldName = keyof typeof EMPTY;
export type Settings = Record<FieldName, string> & { tools: ToolFields[] };

export const FIELDS = Object.keys(EMPTY) as FieldName[];
export const NUMBERS = [
  "temperature",
  "top_p",
  "top_k",
  "min_p",
  "repetition_penalty",
  "frequency_penalty",
  "presence_penalty",
  "seed",
  "max_tokens",
] as const satisfies readonly FieldName[];
export const emptySettings = (): Settings => ({ ...EMPTY, tools: [] });
export const emptyTool = (): ToolFields => ({ name: "", description: "", parameters: "", result: "" });

const KEY = "mlcweb.playground";
type Storage = Pick<globalThis.Storage, "getItem" | "setItem" | "removeItem">;

/** Where a page may not store, settings live as long as the page. */
export function keep(settings: Settings, storage: () => Storage = () => sessionStorage): void {
  try {
    if (JSON.stringify(settings) === JSON.stringify(emptySettings())) storage().removeItem(KEY);
    else storage().setItem(KEY, JSON.stringify(settings));
  } catch {
    // No storage, or it is full.
  }
}

/** undefined where nothing was kept. Whatever stands there, only known fields that are text are taken from it. */
export function kept(storage: () => Storage = () => sessionStorage): Settings | undefined {
  try {
    const found: unknown = JSON.parse(storage().getItem(KEY) ?? "null");
    if (typeof found !== "object" || found === null) return undefined;
    const { tools } = found as { tools?: unknown };
    return {
      ...texts(EMPTY, found),
      tools: Array.isArray(tools) ? tools.map((tool: unknown) => texts(emptyTool(), tool)) : [],
    };
  } catch {
    return undefined;
  }
}

function texts<T extends object>(empty: T, found: unknown): T {
  const values = (typeof found === "object" && found !== null ? found : {}) as Record<string, unknown>;
  const taken = Object.entries(empty).map(([key, fallback]) => {
    const value = Object.hasOwn(values, key) ? values[key] : undefined;
    return [key, typeof value === "string" ? value : fallback];
  });
  return Object.fromEntries(taken) as T;
}
