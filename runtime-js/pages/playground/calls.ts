// Collects the calls of an answer from its chunks, and shows them with their results.
import type { AnswerToolCall, ChatCompletionChunk } from "mlcweb";
import { $, add } from "../dom.js";

export class Calls {
  readonly made: AnswerToolCall[] = [];
  private readonly shown: { name: HTMLElement; given: HTMLElement; card: HTMLElement }[] = [];

  hear({ choices }: ChatCompletionChunk): void {
    for (const { index, id, function: part } of choices[0]?.delta.tool_calls ?? []) {
      this.made[index] ??= { id: id ?? "", type: "function", function: { name: "", arguments: "" } };
      const call = this.made[index];
      if (part.name !== undefined) call.function.name = part.name;
      call.function.arguments += part.arguments;
      this.show(index);
    }
  }

  /** Says what a call gave. */
  result(index: number, text: string): void {
    const { card } = this.shown[index]!;
    add(card, "div", "call-label", "Result, from the stub");
    add(add(card, "pre", ""), "code", "", text || "(empty)");
  }

  private show(index: number): void {
    const call = this.made[index]!.function;
    this.shown[index] ??= this.card();
    this.shown[index].name.textContent = call.name;
    this.shown[index].given.textContent = pretty(call.arguments);
  }

  private card(): { name: HTMLElement; given: HTMLElement; card: HTMLElement } {
    const card = add($("messages"), "div", "message call");
    const head = add(card, "div", "call-label", "Calls ");
    const name = add(head, "code", "");
    const given = add(add(card, "pre", ""), "code", "");
    return { name, given, card };
  }
}

/** JSON on lines of its own; text that is not JSON yet, as it is. */
function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
