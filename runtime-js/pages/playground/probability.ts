// Writes a token and its probability for people.

/** A token's text with its spaces and line breaks to be seen. */
export const visible = (token: string): string =>
  token.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "·") || "(nothing)";

export function percent(logprob: number): string {
  const value = Math.exp(logprob) * 100;
  return value < 0.1 ? "< 0.1%" : `${value.toFixed(value < 99.95 && value >= 10 ? 0 : 1)}%`;
}
