// Tests that an engine samples as its bundle says where nobody asks for more, and that what measures it does not.
import { expect, it } from "vitest";
import { open, PROMPT } from "./fake_engine.js";
import { FakeModel, sum } from "./fake_model.js";

const messages = [{ role: "user" as const, content: "x" }];
const manifest = { generation: { temperature: 0.25, top_p: 0.5, top_k: 7, repetition_penalty: 1.5 } };

/** Notes the penalty that it samples with, on the CPU. */
function opened(changes: object) {
  const penalties: number[] = [];
  const { engine, model } = open(new FakeModel(sum), { manifest: changes });
  const { loaded } = (engine as unknown as { held: { loaded: { host: object } } }).held;
  loaded.host = {
    sample: (logits: Float32Array, _counts: unknown, { repetitionPenalty }: { repetitionPenalty: number }) => {
      penalties.push(repetitionPenalty);
      return logits.indexOf(Math.max(...logits));
    },
  };
  return { engine, model, penalties };
}

it("a request that does not say gets the bundle's sampling", async () => {
  const { engine, model, penalties } = opened({
    generation: { ...manifest.generation, repetition_penalty: undefined },
  });
  await engine.chat.completions.create({ messages, max_tokens: 2 });
  expect(model.lastSampling).toMatchObject({ temperature: 0.25, topP: 0.5, topK: 7 });
  await engine.completions.create({ prompt: "x", max_tokens: 2, temperature: 1 });
  expect(model.lastSampling).toMatchObject({ temperature: 1, topP: 0.5 });
  expect(penalties).toEqual([]);
});

it("so does generate, with the penalty, unless it says 1", async () => {
  const { engine, penalties } = opened(manifest);
  for await (const _ of engine.generate(PROMPT, { max_tokens: 2 }));
  expect(penalties).toEqual([1.5, 1.5]);
  for await (const _ of engine.generate(PROMPT, { max_tokens: 2, repetition_penalty: 1 }));
  expect(penalties).toEqual([1.5, 1.5]);
});

it("greedy tokens are the model's, whatever the bundle says", async () => {
  const { engine, model, penalties } = opened(manifest);
  const plain = opened({}).engine;
  expect(await engine.greedy(PROMPT, 4)).toEqual(await plain.greedy(PROMPT, 4));
  expect([model.lastSampling?.temperature, penalties]).toEqual([0, []]);
});
