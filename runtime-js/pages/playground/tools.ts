// The list of tools that the model may call, each with a stub of a result.
import { add } from "../dom.js";
import type { Form } from "./form.js";
import { emptyTool, type Settings, type ToolFields } from "./settings.js";

const EXAMPLE: ToolFields = {
  name: "get_weather",
  description: "The weather in a city now.",
  parameters: '{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}',
  result: '{"sky": "clear", "celsius": 21}',
};

export class ToolList {
  private readonly list: HTMLElement;
  private readonly choice: HTMLSelectElement;

  constructor(
    section: HTMLElement,
    private readonly form: Form,
    private readonly settings: () => Settings,
    private readonly changed: () => void,
  ) {
    this.list = add(section, "div", "tool-list");
    const buttons = add(section, "div", "buttons");
    this.button(buttons, "Add a tool", () => this.append(emptyTool()));
    this.button(buttons, "Add an example", () => this.append({ ...EXAMPLE }));
    const choice: [string, string][] = [["auto", "If the model wants"]];
    const bind = (key: "tool_choice" | "rounds" | "single") => ({
      get: () => settings()[key],
      set: (value: string) => {
        settings()[key] = value;
      },
    });
    const both = add(section, "div", "grid");
    form.field(both, "tool_choice", "Call a tool", bind("tool_choice"), { kind: "choice", choices: choice });
    form.field(both, "rounds", "Rounds at most", bind("rounds"), { kind: "number", placeholder: "4" });
    form.field(section, "single", "One call an answer", bind("single"), { kind: "check" });
    this.choice = both.querySelector("select")!;
    this.draw();
  }

  /** Shows the tools that the settings have. */
  draw(): void {
    this.list.replaceChildren();
    this.form.prune();
    this.settings().tools.forEach((tool, i) => {
      this.card(tool, i);
    });
    this.offer();
  }

  private append(tool: ToolFields): void {
    const { tools } = this.settings();
    if (tools.some(({ name }) => name === tool.name)) tool.name += tool.name && `_${tools.length + 1}`;
    tools.push(tool);
    this.draw();
    this.changed();
    this.list.querySelector<HTMLInputElement>("fieldset:last-child input")?.focus();
  }

  private card(tool: ToolFields, i: number): void {
    const card = add(this.list, "fieldset", "tool");
    add(card, "legend", "", `Tool ${i + 1}`);
    const bind = (part: keyof ToolFields) => ({
      get: () => tool[part],
      set: (value: string) => {
        tool[part] = value;
        if (part === "name") this.offer();
      },
    });
    const { form } = this;
    form.field(card, `tools.${i}.name`, "Name", bind("name"), { placeholder: "get_weather" });
    form.field(card, `tools.${i}.description`, "Description", bind("description"), { kind: "text", rows: 2 });
    form.field(card, `tools.${i}.parameters`, "Parameters, as JSON Schema", bind("parameters"), {
      kind: "code",
      rows: 4,
      placeholder: '{"type": "object", "properties": {}}',
    });
    form.field(card, `tools.${i}.result`, "Result that every call gets", bind("result"), {
      kind: "code",
      rows: 2,
      placeholder: "Text or JSON",
    });
    this.button(card, "Remove", () => {
      const { tools } = this.settings();
      tools.splice(tools.indexOf(tool), 1);
      this.draw();
      this.changed();
      this.list.parentElement!.querySelector<HTMLButtonElement>(".buttons button")!.focus();
    });
  }

  /** Offers the tools by name; a choice of one that is gone becomes "auto". */
  private offer(): void {
    const settings = this.settings();
    const names = settings.tools.map(({ name }) => name.trim()).filter(Boolean);
    const choices = [
      ["auto", "If the model wants"],
      ["required", "Always, any"],
      ["none", "Never"],
      ...names.map((name) => [`function:${name}`, `Always ${name}`]),
    ] as const;
    this.choice.replaceChildren(...choices.map(([value, label]) => new Option(label, value)));
    if (!choices.some(([value]) => value === settings.tool_choice)) settings.tool_choice = "auto";
    this.choice.value = settings.tool_choice;
  }

  private button(parent: HTMLElement, label: string, act: () => void): void {
    const button = add(parent, "button", "small", label);
    button.type = "button";
    button.addEventListener("click", act);
  }
}
