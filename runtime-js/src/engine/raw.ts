// Declares what a request asks for that wants the model's own likeliest tokens, and no end.

/** The most likely tokens and nothing else, whatever the bundle says of sampling. */
export const RAW = { temperature: 0, repetition_penalty: 1, seed: 0, stop_tokens: [] } as const;
