// Builds the panel: its sections, and in each the fields that are bound to the settings.
import type { EngineInfo } from "mlcweb";
import { $, add } from "../dom.js";
import type { FieldOptions, Form } from "./form.js";
import { ALTERNATIVES, FORMAT_FIELDS } from "./request.js";
import { type FieldName, NUMBERS, type Settings } from "./settings.js";

/** A section that opens and closes; `says` is what its heading tells of it. */
export class Section {
  readonly body: HTMLElement;
  private readonly state: HTMLElement;

  constructor(parent: HTMLElement, title: string, open = false) {
    const details = add(parent, "details", "");
    details.open = open;
    const summary = add(details, "summary", "");
    add(summary, "h3", "", title);
    this.state = add(summary, "span", "state quiet");
    this.body = add(details, "div", "body");
  }

  says(text: string): void {
    this.state.textContent = text;
  }
}

const SAMPLING: Record<(typeof NUMBERS)[number], [label: string, placeholder: string]> = {
  temperature: ["Temperature", "1"],
  top_p: ["Top p", "1"],
  top_k: ["Top k", "0, off"],
  min_p: ["Min p", "0, off"],
  repetition_penalty: ["Repetition penalty", "1, off"],
  frequency_penalty: ["Frequency penalty", "0, off"],
  presence_penalty: ["Presence penalty", "0, off"],
  seed: ["Seed", "Random"],
  max_tokens: ["Max tokens", "No limit"],
};
const FORMATS = [
  ["text", "Anything"],
  ["json_object", "A JSON object"],
  ["json_schema", "JSON of a schema"],
  ["regex", "A regular expression"],
  ["grammar", "A grammar"],
] as const;
const SCHEMA_EXAMPLE = '{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}';

export interface Sections {
  readonly tools: Section;
  readonly prompt: Section;
  readonly code: Section;
  /** Says in the headings what is set, and shows the fields that matter. */
  describe(settings: Settings): void;
  /** Shows what the model gets where nothing is set. */
  defaults(generation: EngineInfo["generation"]): void;
}

/** An empty panel with its heading, in the page. */
export function makePanel(reset: () => void, close: () => void): HTMLElement {
  const panel = document.createElement("aside");
  panel.id = "panel";
  panel.hidden = true;
  panel.tabIndex = -1; // it takes the focus when it opens
  panel.setAttribute("aria-label", "Playground");
  $("playground").setAttribute("aria-controls", panel.id);
  const head = add(panel, "div", "panel-head");
  add(head, "h2", "", "Playground");
  for (const [label, act] of [
    ["Reset", reset],
    ["Close", close],
  ] as const) {
    const button = add(head, "button", "small", label);
    button.type = "button";
    button.addEventListener("click", act);
  }
  $("drawer").after(panel); // before the conversation, where the button is that opens it
  return panel;
}

export function addSections(panel: HTMLElement, form: Form, settings: () => Settings): Sections {
  const field = (section: HTMLElement, name: FieldName, label: string, options: FieldOptions): HTMLElement => {
    const bound = {
      get: () => settings()[name],
      set: (value: string) => {
        settings()[name] = value;
      },
    };
    return form.field(section, name, label, bound, options);
  };
  const system = new Section(panel, "System prompt", true);
  field(system.body, "system", "What the model is told first", { kind: "text", placeholder: "None" });
  const sampling = new Section(panel, "Sampling", true);
  const grid = add(sampling.body, "div", "grid");
  for (const name of NUMBERS) {
    const [label, placeholder] = SAMPLING[name];
    field(grid, name, label, { kind: "number", placeholder });
  }
  const stops = "One text a line; \\n is a line break.";
  field(grid, "stop", "Stop at", { kind: "code", rows: 1, placeholder: "None", hint: stops });
  const format = new Section(panel, "Form of the answer");
  field(format.body, "format", "The answer must be", { kind: "choice", choices: FORMATS });
  field(format.body, "schema", "JSON Schema", { kind: "code", rows: 8, placeholder: SCHEMA_EXAMPLE });
  field(format.body, "regex", "Regular expression, for the whole answer", { kind: "code", placeholder: "(yes|no)" });
  field(format.body, "grammar", "EBNF, from the rule root", { kind: "code", placeholder: 'root ::= "yes" | "no"' });
  const tools = new Section(panel, "Tools");
  const tokens = new Section(panel, "Probabilities");
  field(tokens.body, "logprobs", "Show each token's probability", {
    kind: "check",
    hint: "A stronger tint is a less likely token. Sampling is then on the CPU, which is slower.",
  });
  field(tokens.body, "top_logprobs", "Alternatives of each", { kind: "number", placeholder: String(ALTERNATIVES) });
  const prompt = new Section(panel, "Prompt");
  const code = new Section(panel, "Code");
  const describe = (now: Settings): void => {
    system.says(now.system.trim() ? "set" : "");
    const set = [...NUMBERS, "stop" as const].filter((name) => now[name].trim());
    sampling.says(set.length > 0 ? `${set.length} set` : "");
    const label = FORMATS.find(([name]) => name === now.format)?.[1];
    format.says(now.format === "text" ? "" : (label ?? ""));
    tools.says(now.tools.map(({ name }) => name.trim() || "unnamed").join(", "));
    tokens.says(now.logprobs ? "shown" : "");
    for (const [name, key] of Object.entries(FORMAT_FIELDS)) form.show(key, name === now.format);
    form.show("top_logprobs", now.logprobs !== "");
  };
  const defaults = (generation: EngineInfo["generation"]): void => {
    for (const name of NUMBERS) {
      const own = (generation as Partial<Record<string, number>>)[name];
      form.placeholder(name, own === undefined ? SAMPLING[name][1] : String(own));
    }
  };
  return { tools, prompt, code, describe, defaults };
}
