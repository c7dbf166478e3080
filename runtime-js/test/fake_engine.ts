// Makes a whole engine over a model without a GPU. Its tokenizer writes tokens as numbers.
import type { Model } from "../src/decode/index.js";
import { Guard } from "../src/device/index.js";
import { Engine } from "../src/engine/index.js";
import type { Loaded } from "../src/engine/load.js";
import { argmax, END, FakeModel, sum } from "./fake_model.js";

/** What every text is encoded as. */
export const PROMPT = [3, 1, 4];

/** `lose` makes the GPU fail; `changes` are to the manifest and the chat template. */
export function open(model = new FakeModel(sum), changes: Changes = {}) {
  const { loaded, lose } = loadedOf(model, changes);
  const engine = new (Engine as unknown as new (loaded: Loaded, depth: number, options: object) => Engine)(
    loaded,
    4,
    {},
  );
  return { engine, model, lose };
}

export interface Changes {
  readonly manifest?: object;
  readonly template?: object;
}

/** What a load gives. `lose` reports an error of the GPU, and `drop` loses the device; `freed` counts. */
export function loadedOf(model: Model, changes: Changes = {}) {
  const listeners: ((event: unknown) => void)[] = [];
  let drop = (_message: string): void => {};
  const guard = new Guard({
    lost: new Promise((resolve) => {
      drop = (message) => resolve({ message, reason: "unknown" });
    }),
    addEventListener: (_: string, listener: (event: unknown) => void) => {
      listeners.push(listener);
    },
    destroy() {},
  } as never);
  const freed = { count: 0 };
  const words = (tokens: readonly number[]): string => tokens.map((token) => `${token} `).join("");
  const loaded = {
    base: "https://fake.example/",
    manifest: { name: "fake", tokenizer: { eosTokenIds: [END] }, tiers: [{ name: "base" }], ...changes.manifest },
    tier: { name: "base" },
    adapter: { vendor: "fake", description: "" },
    guard,
    memory: {
      use: {},
      destroy() {
        freed.count++;
      },
    },
    model,
    host: argmax,
    codec: {
      decode: words,
      token: String,
      encode: () => PROMPT,
      encodeRendered: () => PROMPT,
      template: { stops: [], render: () => "", ...changes.template },
    },
    ready() {},
  } as unknown as Loaded;
  const lose = (): void => {
    for (const listener of listeners) listener({ error: { message: "gone wrong" } });
  };
  return { loaded, guard, lose, drop, freed };
}
