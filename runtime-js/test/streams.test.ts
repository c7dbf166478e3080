// Tests streams that nobody reads to their end, on a whole engine over a model without a GPU.
import { describe, expect, it } from "vitest";
import type { ChatCompletion, ChatCompletionChunk } from "../src/chat/index.js";
import type { Engine } from "../src/engine/index.js";
import { open, PROMPT } from "./fake_engine.js";
import { sum } from "./fake_model.js";

const messages = [{ role: "user" as const, content: "x" }];

const stream = async (engine: Engine, more: object = {}): Promise<AsyncIterator<ChatCompletionChunk>> =>
  (await engine.chat.completions.create({ messages, temperature: 0, max_tokens: 12, ...more, stream: true }))[
    Symbol.asyncIterator
  ]();
const ask = (engine: Engine): Promise<ChatCompletion> =>
  engine.chat.completions.create({ messages, temperature: 0, max_tokens: 5 });
const textOf = (answer: ChatCompletion): string | null => answer.choices[0]!.message.content;
const RIGHT = expected(5);

function expected(count: number): string {
  const history = [...PROMPT];
  for (let i = 0; i < count; i++) history.push(sum(history));
  return history
    .slice(PROMPT.length)
    .map((token) => `${token} `)
    .join("");
}

/** A stream of which two chunks were read. */
async function left(engine: Engine, more: object = {}): Promise<AsyncIterator<ChatCompletionChunk>> {
  const chunks = await stream(engine, more);
  await chunks.next();
  await chunks.next();
  return chunks;
}
async function rest(chunks: AsyncIterator<ChatCompletionChunk>): Promise<(string | null | undefined)[]> {
  const reasons = [];
  for (let next = await chunks.next(); !next.done; next = await chunks.next())
    reasons.push(next.value.choices[0]?.finish_reason);
  return reasons;
}

describe("a stream that is left after two chunks", () => {
  it("keeps others waiting, until it is interrupted; who comes back hears that it was", async () => {
    const { engine } = open();
    const chunks = await left(engine, { stream_options: { include_usage: true } });
    const next = ask(engine);
    expect(await Promise.race([next, new Promise((resolve) => setTimeout(resolve, 50, "waits"))])).toBe("waits");
    engine.interrupt();
    expect(textOf(await next)).toBe(RIGHT);
    expect(await rest(chunks)).toEqual(["abort", undefined]);
  });

  it("is ended by its signal, while another waits", async () => {
    const { engine } = open();
    const stop = new AbortController();
    const chunks = await left(engine, { signal: stop.signal });
    const next = ask(engine);
    stop.abort();
    expect(textOf(await next)).toBe(RIGHT);
    await expect(chunks.next()).rejects.toMatchObject({ code: "cancelled" });
    expect((await chunks.next()).done).toBe(true);
  });

  it("is ended by a reset, which does not wait for those that wait", async () => {
    const { engine } = open();
    const first = await left(engine),
      second = await stream(engine);
    const begun = second.next(); // and is left there
    await engine.reset();
    expect(await rest(first)).toEqual(["abort"]);
    await begun;
    await engine.reset();
    expect(textOf(await ask(engine))).toBe(RIGHT);
    expect(await rest(second)).toEqual(["abort"]);
  });

  it("two of them take two interruptions", async () => {
    const { engine } = open();
    const first = await left(engine),
      second = left(engine);
    engine.interrupt();
    const chunks = await second,
      next = ask(engine);
    engine.interrupt();
    expect(textOf(await next)).toBe(RIGHT);
    expect([await rest(first), await rest(chunks)]).toEqual([["abort"], ["abort"]]);
  });

  it("is ended with all its choices", async () => {
    const { engine, model } = open();
    const chunks = await left(engine, { n: 128 });
    engine.interrupt();
    expect(textOf(await ask(engine))).toBe(RIGHT);
    expect(await rest(chunks)).toEqual(Array(128).fill("abort"));
    expect(model.taken).toBeLessThan(30); // no choice that had not begun cost a step
  });

  it.each(["unload", "lose"] as const)(
    "is ended when the engine is gone, and so are those that wait (%s)",
    async (how) => {
      const { engine, lose } = open();
      const chunks = await left(engine),
        waiting = ask(engine),
        reset = how === "lose" ? undefined : engine.reset();
      const code = how === "unload" ? "unloaded" : "gpu";
      const heard = [waiting, reset]
        .filter((waiting) => waiting !== undefined)
        .map((waiting) => expect(waiting).rejects.toMatchObject({ code }));
      if (how === "unload") await engine.unload();
      else lose();
      await Promise.all(heard);
      // A reset has interrupted the stream before.
      if (how === "lose") await expect(chunks.next()).rejects.toMatchObject({ code });
      await expect(ask(engine)).rejects.toMatchObject({ code });
    },
  );

  it("at its last chunk has no turn any more", async () => {
    const { engine } = open();
    const chunks = await stream(engine);
    for (let reason: string | undefined; !reason; ) reason = (await chunks.next()).value.choices[0].finish_reason;
    expect(textOf(await ask(engine))).toBe(RIGHT);
  });

  it("before it was read has none yet, and is interrupted by nothing", async () => {
    const { engine } = open();
    const chunks = await stream(engine);
    engine.interrupt();
    await engine.reset();
    expect(textOf(await ask(engine))).toBe(RIGHT);
    expect((await rest(chunks)).at(-1)).toBe("length");
    const late = await stream(engine);
    await engine.unload();
    await expect(late.next()).rejects.toMatchObject({ code: "unloaded" });
  });

  it("leaves a right KV cache", async () => {
    const { engine, model } = open();
    await left(engine);
    engine.interrupt();
    expect(textOf(await ask(engine))).toBe(RIGHT);
    expect(textOf(await ask(engine))).toBe(RIGHT);
    expect(model.chunks.slice(-1)).toEqual([1]); // the prompt was still there
  });
});

it("tokens and completions that are left are ended alike", async () => {
  const { engine } = open();
  const tokens = engine.generate(PROMPT, { temperature: 0 });
  await tokens.next();
  engine.interrupt();
  const texts = (await engine.completions.create({ prompt: "x", temperature: 0, stream: true }))[
    Symbol.asyncIterator
  ]();
  await texts.next();
  expect(await tokens.next()).toEqual({ done: true, value: { reason: "abort" } });
  engine.interrupt();
  const steps = engine.replaySteps(PROMPT, [1, 2, 3]);
  await steps.next();
  await engine.reset();
  await expect(steps.next()).rejects.toMatchObject({ code: "cancelled" });
  expect(textOf(await ask(engine))).toBe(RIGHT);
});
