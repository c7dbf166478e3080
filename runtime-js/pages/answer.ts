// Shows one answer while it is generated, and its numbers afterwards.
import type { ChatCompletionChunk, ChatMessage, FinishReason, Usage } from "mlcweb";
import { $, add, atEnd, toEnd } from "./dom.js";
import { render } from "./markdown.js";
import { answerFacts, promptFacts, tokenRate } from "./numbers.js";

/** What may look on while an answer comes, or show it another way. */
export interface Watch {
  hear?(chunk: ChatCompletionChunk): void;
  /** Shows the text, by default as Markdown. */
  render?(text: string): Node;
  /** Shows the whole answer, in place of its text. */
  paint?(element: HTMLElement): void;
}
export interface Reply {
  readonly message: ChatMessage;
  readonly reason: FinishReason | null;
}

/** Shows an answer as its chunks come. What came before a failure stays. */
export async function reply(chunks: Promise<AsyncIterable<ChatCompletionChunk>>, watch: Watch = {}): Promise<Reply> {
  const answer = new LiveAnswer(watch);
  let usage: Usage | undefined,
    reason: FinishReason | null = null;
  try {
    for await (const chunk of await chunks) {
      watch.hear?.(chunk);
      usage = chunk.usage ?? usage;
      const choice = chunk.choices[0];
      reason = choice?.finish_reason ?? reason;
      const { content = "", reasoning_content: reasoning = "" } = choice?.delta ?? {};
      if (content || reasoning || choice?.logprobs || choice?.delta.tool_calls) answer.push(content, reasoning);
    }
  } finally {
    answer.end(usage, reason);
  }
  const { text, reasoning } = answer;
  return { message: { role: "assistant", content: text, ...(reasoning && { reasoning_content: reasoning }) }, reason };
}

/** An answer that grows. It is painted as often as the screen shows it, not as often as tokens come. */
class LiveAnswer {
  text = "";
  reasoning = "";
  private readonly element: HTMLElement;
  private painting = false;
  private ended = false;
  private chunks = 0;
  private firstAt = 0;

  constructor(private readonly watch: Watch) {
    this.element = add($("messages"), "div", "message assistant busy");
    this.element.setAttribute("aria-busy", "true");
  }

  push(text: string, reasoning: string): void {
    this.text += text;
    this.reasoning += reasoning;
    if (this.chunks++ === 0) {
      this.firstAt = performance.now();
      $("speed").textContent = "Answering";
    }
    if (this.painting) return;
    this.painting = true;
    requestAnimationFrame(() => this.paint());
  }

  /** Paints the rest; an answer without text is taken away. */
  end(usage: Usage | undefined, reason: FinishReason | null): void {
    this.ended = true;
    const follow = atEnd();
    this.paint();
    this.element.classList.remove("busy");
    this.element.removeAttribute("aria-busy");
    if (usage) $("messages").append(usageLine(this.text, usage, reason));
    if (this.element.childElementCount === 0) this.element.remove();
    $("speed").textContent = usage ? tokenRate(usage.extra.decode_tokens_per_s) : "";
    if (follow) toEnd();
  }

  private paint(): void {
    this.painting = false;
    const follow = atEnd();
    if (this.watch.paint) this.watch.paint(this.element);
    else this.paintText();
    // A chunk is a token, but where several make one character.
    const seconds = (performance.now() - this.firstAt) / 1000;
    if (this.chunks > 8 && !this.ended) $("speed").textContent = tokenRate((this.chunks - 1) / seconds);
    if (follow) toEnd();
  }

  private paintText(): void {
    this.element.replaceChildren((this.watch.render ?? render)(this.text));
    if (this.reasoning) {
      const thought = document.createElement("blockquote");
      thought.append(render(this.reasoning));
      this.element.prepend(thought);
    }
  }
}

function usageLine(text: string, usage: Usage, reason: FinishReason | null): HTMLElement {
  const ends: Partial<Record<FinishReason, string>> = {
    abort: "stopped",
    length: "cut at the longest answer or the end of the context",
  };
  const line = document.createElement("div");
  line.className = "meta quiet";
  for (const fact of [...answerFacts(usage), promptFacts(usage), ends[reason ?? "stop"] ?? ""])
    if (fact) add(line, "span", "", fact);
  if (text) addCopy(line, text);
  return line;
}

function addCopy(line: HTMLElement, text: string): void {
  const copy = add(line, "button", "link", "Copy");
  copy.type = "button";
  const say = (words: string) => (): void => {
    copy.textContent = words;
  };
  copy.addEventListener(
    "click",
    () => void navigator.clipboard.writeText(text).then(say("Copied"), say("Not allowed here")),
  );
}
