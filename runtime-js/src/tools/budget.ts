// Ends reasoning that has had its tokens.
import type { ReasoningSyntax } from "../contract/index.js";

/** Hears an answer's tokens, and says which must come next. */
export interface ReasoningBudget {
  /** Takes the token that came. */
  accept(token: number): void;
  /** The tokens that end reasoning, once, when the budget is spent; none otherwise. It counts them itself: they are not
   * accepted again. */
  force(): readonly number[];
}

/** How much of a text is looked at for a marker. */
const WINDOW = 256;

export function reasoningBudget(
  { begin, end }: ReasoningSyntax,
  tokens: number,
  opened: boolean,
  codec: { token(id: number): string; encode(text: string, addSpecialTokens: boolean): number[] },
): ReasoningBudget {
  let state: "before" | "inside" | "after" = opened ? "inside" : "before";
  let text = "";
  let count = 0;
  return {
    accept(token) {
      if (state === "after") return;
      text = (text + codec.token(token)).slice(-WINDOW);
      if (state === "before") {
        const words = text.trimStart();
        if (words.startsWith(begin)) {
          state = "inside";
          text = "";
        } else if (!begin.startsWith(words)) state = "after";
      } else {
        count++;
        if (text.includes(end)) state = "after";
      }
    },
    force() {
      if (state !== "inside" || count < tokens) return [];
      state = "after";
      return codec.encode(`\n${end}\n\n`, false);
    },
  };
}
