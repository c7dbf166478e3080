// Cuts added tokens out of a text before anything else is done. They are strings that are a token wherever they occur.

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  readonly normalized: boolean;
  readonly singleWord: boolean;
  /** It takes the white space before (after) it along. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
}
/** A piece of text, or an added token in its place; `start` is where it began. */
export type Section = { readonly text: string; readonly start: number } | { readonly id: number };

/** Unicode's White_Space, which JavaScript's \s is not: that has U+FEFF and lacks U+0085. */
const BEFORE = /\p{White_Space}+$/u;
const AFTER = /^\p{White_Space}+/u;
const WORD_BEFORE = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]$/u;
const WORD_AFTER = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]/u;

export class AddedTokens {
  private readonly pattern: RegExp | undefined;
  private readonly tokens = new Map<string, AddedToken>();

  /** `spell` says what a token looks like in the text that will be split. */
  constructor(tokens: readonly AddedToken[], spell: (content: string) => string = (content) => content) {
    for (const token of tokens) {
      const spelling = spell(token.content);
      if (spelling !== "") this.tokens.set(spelling, token);
    }
    // The longest of those that begin at a place is taken.
    const spellings = [...this.tokens.keys()].sort((a, b) => b.length - a.length);
    if (spellings.length > 0)
      this.pattern = new RegExp(spellings.map((s) => s.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&")).join("|"), "g");
  }

  split(text: string): Section[] {
    if (!this.pattern) return text === "" ? [] : [{ text, start: 0 }];
    const sections: Section[] = [];
    let from = 0;
    for (const match of text.matchAll(this.pattern)) {
      const token = this.tokens.get(match[0])!;
      let start = match.index;
      let end = start + match[0].length;
      if (token.singleWord && (WORD_BEFORE.test(text.slice(0, start)) || WORD_AFTER.test(text.slice(end)))) continue;
      if (token.lstrip) start = Math.max(start - (BEFORE.exec(text.slice(from, start))?.[0].length ?? 0), from);
      if (token.rstrip) end += AFTER.exec(text.slice(end))?.[0].length ?? 0;
      if (from < start) sections.push({ text: text.slice(from, start), start: from });
      sections.push({ id: token.id });
      from = end;
    }
    if (from < text.length) sections.push({ text: text.slice(from), start: from });
    return sections;
  }
}
