// Makes a whole engine over a model without a GPU. Its tokenizer writes tokens as numbers.
import { Guard } from "../src/device/index.js";
import { Engine } from "../src/engine/index.js";
import type { Loaded } from "../src/engine/load.js";
import { argmax, END, FakeModel, sum } from "./fake_model.js";

/** What every text is encoded as. */
export const PROMPT = [3, 1, 4];

/** `lose` makes the GPU fail; `changes` are to the manifest and the chat template. */
export function open(model = new FakeModel(sum), changes: { manifest?: object; template?: object } = {}) {
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
    base: "https://fake.example/",
    manifest: { name: "fake", tokenizer: { eosTokenIds: [END] }, tiers: [{ name: "base" }], ...changes.manifest },
    tier: { name: "base" },
    adapter: { vendor: "fake", description: "" },
    guard,
    memory: { use: {}, destroy() {} },
    model,
    host: argmax,
    codec: {
      decode: words,
      token: String,
      encode: () => PROMPT,
      encodeRendered: () => PROMPT,
      template: { stops: [], render: () => "", ...changes.template },
    },
  } as unknown as Loaded;
  const engine = new (Engine as unknown as new (loaded: Loaded, depth: number, options: object) => Engine)(
    loaded,
    4,
    {},
  );
  const lose = (): void => {
    for (const listener of listeners) listener({ error: { message: "gone wrong" } });
  };
  return { engine, model, lose };
}
