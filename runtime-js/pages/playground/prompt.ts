// Shows the prompt as the model reads it, and lets it be edited and sent as raw text.
import { add } from "../dom.js";
import { count } from "../numbers.js";
import type { Form } from "./form.js";

export class PromptView {
  /** The text while it is edited by hand; undefined: it is the template's. */
  raw: string | undefined;
  private rendered = "";
  private readonly area: HTMLTextAreaElement;
  private readonly facts: HTMLElement;
  private readonly edit: HTMLButtonElement;
  private readonly back: HTMLButtonElement;
  private readonly send: HTMLButtonElement;

  constructor(
    section: HTMLElement,
    private readonly form: Form,
    send: () => void,
    private readonly changed: () => void,
  ) {
    const bound = {
      get: () => this.raw ?? this.rendered,
      set: (text: string) => {
        this.raw = text;
      },
    };
    const box = form.field(section, "prompt", "What the model reads", bound, { kind: "code", rows: 10 });
    this.area = box.querySelector("textarea")!;
    this.facts = add(section, "p", "hint");
    this.facts.id = "play-prompt-facts";
    const buttons = add(section, "div", "buttons");
    this.edit = button(buttons, "Edit as raw text", () => this.setRaw(this.rendered));
    this.send = button(buttons, "Send raw text", send);
    this.send.classList.add("primary");
    this.back = button(buttons, "Back to the chat's prompt", () => this.setRaw(undefined));
    this.draw();
  }

  setRaw(text: string | undefined): void {
    const focused = [this.edit, this.back].some((button) => button === document.activeElement);
    this.raw = text;
    this.form.clear("prompt");
    this.draw();
    if (focused) (text === undefined ? this.edit : this.area).focus();
    this.changed();
  }

  /** What the template makes of the conversation, or why it makes nothing. */
  show(rendered: string, facts: string): void {
    if (this.raw === undefined) this.rendered = rendered;
    this.facts.textContent = facts;
    this.draw();
  }

  private draw(): void {
    const raw = this.raw !== undefined;
    const text = this.raw ?? this.rendered;
    if (this.area.value !== text) this.area.value = text;
    this.area.readOnly = !raw;
    this.edit.hidden = raw;
    this.send.hidden = this.back.hidden = !raw;
  }
}

/** "34 tokens", and how many of them the tokenizer puts before raw text. */
export const rawFacts = (tokens: number, added: number): string =>
  `${count(tokens, "token")}${added > 0 ? `, ${added} of them put there by the tokenizer` : ""}. Sent as it is, ` +
  "outside the conversation: the model goes on with it.";

function button(parent: HTMLElement, label: string, act: () => void): HTMLButtonElement {
  const made = add(parent, "button", "small", label);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}
