// Makes labelled fields, each with a place for what the engine says against it.
import { add } from "../dom.js";

export type Control = HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement;

export interface FieldOptions {
  readonly kind?: "line" | "number" | "text" | "code" | "choice" | "check";
  readonly placeholder?: string;
  readonly hint?: string;
  /** Of a choice: values and what they are called. */
  readonly choices?: readonly (readonly [string, string])[];
  readonly rows?: number;
}

interface Field {
  readonly control: Control;
  readonly box: HTMLElement;
  readonly fault: HTMLElement;
}

/** The value of a field; a check has "on" or nothing. */
export interface Binding {
  get(): string;
  set(value: string): void;
}

export class Form {
  private readonly fields = new Map<string, Field & Binding>();

  /** `changed` is called after every change by hand. */
  constructor(private readonly changed: () => void) {}

  /** Adds a field, and takes one of the same key off the books. */
  field(parent: HTMLElement, key: string, label: string, bound: Binding, options: FieldOptions = {}): HTMLElement {
    const { kind = "line", hint = "" } = options;
    const id = `play-${key.replaceAll(".", "-")}`;
    const box = add(parent, "div", `field ${kind}`);
    const name = add(box, "label", "", label);
    name.htmlFor = id;
    const control = makeControl(box, options);
    control.id = id;
    if (kind === "check") box.prepend(control);
    if (hint) add(box, "p", "hint", hint).id = `${id}-hint`;
    const fault = add(box, "p", "fault");
    fault.id = `${id}-fault`;
    fault.setAttribute("aria-live", "polite");
    control.setAttribute("aria-describedby", hint ? `${id}-hint ${fault.id}` : fault.id);
    control.addEventListener("input", () => {
      bound.set(typed(control));
      this.clear(key);
      this.changed();
    });
    this.fields.set(key, { control, box, fault, ...bound });
    setValue(control, bound.get());
    return box;
  }

  /** Takes the fields' values from what they are bound to. */
  refresh(): void {
    for (const { control, get } of this.fields.values()) setValue(control, get());
  }

  /** Forgets fields whose elements were taken away. */
  prune(): void {
    for (const [key, { box }] of this.fields) if (!box.isConnected) this.fields.delete(key);
  }

  /** Shows what is wrong with a field; the field, or undefined where there is none of this key. */
  blame(key: string, message: string): Control | undefined {
    const field = this.fields.get(key);
    if (!field) return undefined;
    if (field.fault.textContent !== message) field.fault.textContent = message;
    field.control.setAttribute("aria-invalid", "true");
    return field.control;
  }

  /** Says what an empty field stands for. */
  placeholder(key: string, text: string): void {
    const control = this.fields.get(key)?.control;
    if (control && !(control instanceof HTMLSelectElement)) control.placeholder = text;
  }

  clear(key?: string): void {
    for (const [each, { control, fault }] of this.fields) {
      if (key !== undefined && each !== key) continue;
      fault.textContent = "";
      control.removeAttribute("aria-invalid");
    }
  }

  show(key: string, visible: boolean): void {
    const field = this.fields.get(key);
    if (field) field.box.hidden = !visible;
  }
}

function makeControl(box: HTMLElement, { kind = "line", placeholder, choices = [], rows = 3 }: FieldOptions): Control {
  if (kind === "choice") {
    const select = add(box, "select", "");
    for (const [value, label] of choices) select.add(new Option(label, value));
    return select;
  }
  if (kind === "text" || kind === "code") {
    const area = add(box, "textarea", "");
    area.rows = rows;
    area.placeholder = placeholder ?? "";
    area.spellcheck = kind === "text";
    return area;
  }
  const input = add(box, "input", "");
  input.type = kind === "check" ? "checkbox" : "text"; // a number's input would lose what is no number
  if (kind === "number") input.inputMode = "decimal";
  input.autocomplete = "off";
  input.placeholder = placeholder ?? "";
  return input;
}

const isCheck = (control: Control): control is HTMLInputElement =>
  control instanceof HTMLInputElement && control.type === "checkbox";
const typed = (control: Control): string => (isCheck(control) ? (control.checked ? "on" : "") : control.value);

function setValue(control: Control, value: string): void {
  if (isCheck(control)) control.checked = value !== "";
  else if (control.value !== value) control.value = value;
}
