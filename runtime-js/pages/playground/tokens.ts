// Shows an answer token by token, each tinted by how unlikely the model took it to be. The arrow keys go from one to
// the next.
import type { ContentLogprob } from "mlcweb";
import { Popover } from "./popover.js";

export class TokenView {
  private readonly tokens: ContentLogprob[] = [];
  private readonly root = document.createElement("div");
  private readonly popover = new Popover(this.root);

  constructor() {
    this.root.className = "tokens";
    this.root.setAttribute("role", "group");
    this.root.setAttribute("aria-label", "Tokens of the answer: arrow keys go from one to the next");
    this.root.addEventListener("pointerover", ({ target }) => this.show(target));
    this.root.addEventListener("pointerleave", () => this.popover.hide());
    this.root.addEventListener("focusin", ({ target }) => this.show(target));
    this.root.addEventListener("focusout", () => this.popover.hide());
    this.root.addEventListener("keydown", (event) => this.move(event));
  }

  hear(tokens: readonly ContentLogprob[]): void {
    this.tokens.push(...tokens);
  }

  /** Adds what is new. Tokens that are there stay, and with them the focus. */
  paint(element: HTMLElement): void {
    if (this.root.parentElement !== element && this.tokens.length > 0) element.replaceChildren(this.root);
    for (let i = this.spans.length; i < this.tokens.length; i++) this.root.append(this.span(this.tokens[i]!, i));
  }

  private get spans(): HTMLCollectionOf<Element> {
    return this.root.getElementsByClassName("token");
  }

  private span({ token, logprob }: ContentLogprob, i: number): HTMLElement {
    const span = document.createElement("span");
    span.className = "token";
    span.tabIndex = i === 0 ? 0 : -1;
    span.dataset.at = String(i);
    // Half as likely is as much of a step at any height: the tint follows the logarithm, down to 1 in 100.
    span.style.setProperty("--doubt", Math.min(1, -logprob / Math.log(100)).toFixed(3));
    span.textContent = token.replace(/^\n+$/, (breaks) => "⏎".repeat(breaks.length) + breaks) || " ";
    return span;
  }

  private show(target: EventTarget | null): void {
    if (!(target instanceof HTMLElement) || !target.classList.contains("token")) return;
    this.popover.show(target, this.tokens[Number(target.dataset.at)]!);
  }

  private move(event: KeyboardEvent): void {
    const from = event.target;
    if (!(from instanceof HTMLElement) || !from.classList.contains("token")) return;
    const at = Number(from.dataset.at);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: this.spans.length - 1 }[event.key];
    const next = to === undefined ? undefined : this.spans[to];
    if (event.key === "Escape") this.popover.hide();
    else if (next instanceof HTMLElement) {
      from.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
