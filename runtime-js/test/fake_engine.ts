// Makes a whole engine over a model without a GPU. Its tokenizer writes tokens as numbers.
import { Guard } from "../src/device/index.js";
import { Engine } from "../src/engine/index.js";
import type { Loaded } from "../src/engine/load.js";
import { argmax, END, FakeModel, sum } from "./fake_model.js";

/** What every text is encoded as. */
export const PROMPT = [3, 1, 4];

/** `lose` makes the GPU fail. */
export function open(model = new FakeModel(sum)) {
  const listeners: ((event: unknown) => void)[] = [];
  const guard = new Guard({
    lost: new Promise(() => {}),
    addEventListener: (_: string, listener: (event: unknown) => void) => {
      listeners.push(listener);
    },
    destroy() {},
  } as never);
  const words = (tokens: readonly number[]): string => tokens.map((token) => `${token} `).join("");
  const loaded = {
    manifest: { name: "fake", tokenizer: { eosTokenIds: [END] }, tiers: [{ name: "base" }] },
    tier: { name: "base" },
    guard,
    memory: { destroy() {} },
    model,
    host: argmax,
    codec: {
      decode: words,
      token: String,
      encode: () => PROMPT,
      encodeRendered: () => PROMPT,
      template: { stops: [], render: () => "" },
    },
  } as unknown as Loaded;
  const engine = new (Engine as unknown as new (loaded: Loaded, depth: number) => Engine)(loaded, 4);
  const lose = (): void => {
    for (const listener of listeners) listener({ error: { message: "gone wrong" } });
  };
  return { engine, model, lose };
}
