// Shows what a token might have been, beside it.
import type { ContentLogprob, TokenLogprob } from "mlcweb";
import { add } from "../dom.js";
import { percent, visible } from "./probability.js";

const GAP = 6;

export class Popover {
  private readonly element = document.createElement("div");

  /** Lives in the view that it belongs to, so that it goes when that goes. */
  constructor(private readonly owner: HTMLElement) {
    this.element.className = "popover";
    this.element.setAttribute("role", "tooltip");
    this.element.id = `popover-${crypto.randomUUID()}`;
  }

  show(beside: HTMLElement, { token, logprob, top_logprobs: top }: ContentLogprob): void {
    this.hide();
    const rows = top.some((one) => one.token === token) ? top : [{ token, logprob, bytes: [] }, ...top];
    const table = document.createElement("table");
    for (const one of rows) this.row(table, one, one.token === token);
    this.element.replaceChildren(table);
    this.owner.append(this.element);
    addEventListener("scroll", this.hide, { capture: true, passive: true, once: true });
    beside.setAttribute("aria-describedby", this.element.id);
    this.place(beside.getClientRects()[0] ?? beside.getBoundingClientRect());
  }

  readonly hide = (): void => {
    if (!this.element.isConnected) return;
    removeEventListener("scroll", this.hide, { capture: true });
    this.element.remove();
    this.owner.querySelector(`[aria-describedby="${this.element.id}"]`)?.removeAttribute("aria-describedby");
  };

  private row(table: HTMLElement, { token, logprob }: TokenLogprob, chosen: boolean): void {
    const row = add(table, "tr", chosen ? "chosen" : "");
    add(add(row, "td", ""), "code", "", visible(token));
    const bar = add(add(row, "td", "bar"), "span", "");
    bar.style.width = `${Math.exp(logprob) * 100}%`;
    add(row, "td", "number", percent(logprob));
  }

  /** Below the token, or above where there is no room; never beyond the window. */
  private place(token: DOMRect): void {
    const { width, height } = this.element.getBoundingClientRect();
    const below = token.bottom + GAP + height < innerHeight;
    this.element.style.top = `${below ? token.bottom + GAP : Math.max(GAP, token.top - GAP - height)}px`;
    this.element.style.left = `${Math.max(GAP, Math.min(token.left, innerWidth - width - GAP))}px`;
  }
}
