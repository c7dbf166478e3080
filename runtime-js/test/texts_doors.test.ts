// Embeddings and rankings through the doors: OpenAI's client, the AI SDK, WebLLM's names and a worker.
import { embed, embedMany, rerank } from "ai";
import OpenAI, { BadRequestError } from "openai";
import { afterEach, describe, expect, it, vi } from "vitest";
import { createMlcweb, mlcwebEmbedding, mlcwebReranking } from "../src/ai_sdk/index.js";
import { Engine } from "../src/engine/index.js";
import { CancelledError, ContextLengthError, WrongModelError } from "../src/errors.js";
import { createFetch, type Models } from "../src/openai/index.js";
import * as webllm from "../src/webllm/index.js";
import { WorkerEngine } from "../src/worker/client.js";
import { EngineHost } from "../src/worker/engine_methods.js";
import { listen, serve } from "../src/worker/index.js";
import { open } from "./fake_engine.js";
import { EMBEDDING, openTexts } from "./fake_texts.js";

const embedder = (facts: object = {}): Engine => openTexts({ embedding: { ...EMBEDDING, ...facts } });
const ranker = (): Engine => openTexts({ reranking: { activation: "none" } });
const clientOf = (models: Models): OpenAI =>
  new OpenAI({
    baseURL: "http://page/v1",
    apiKey: "none",
    dangerouslyAllowBrowser: true,
    maxRetries: 0,
    fetch: createFetch(models),
  });
/** Of "a bb": [CLS], one letter, two letters, [SEP]. */
const A_BB = [90 + 1 + 2 + 91, 4, 0, 0];

describe("OpenAI's client", () => {
  it("gets embeddings as numbers and as base64, which it asks for by itself", async () => {
    const ai = clientOf(embedder());
    const plain = await ai.embeddings.create({ model: "fake", input: ["a bb", "c"] });
    expect(plain.data.map(({ embedding }) => embedding)).toEqual([A_BB, [182, 3, 0, 0]]);
    expect(plain.usage).toMatchObject({ prompt_tokens: 7, total_tokens: 7 });
    const asked = { model: "fake", input: "a bb", encoding_format: "float" as const, dimensions: 2, user: "me" };
    expect(await ai.embeddings.create(asked)).toMatchObject({
      object: "list",
      model: "fake",
      data: [{ object: "embedding", index: 0, embedding: A_BB.slice(0, 2) }],
    });
  });
  it("gets errors by its own classes", async () => {
    const ai = clientOf({ words: embedder(), chat: open().engine });
    const long = ai.embeddings.create({ model: "words", input: "a ".repeat(11) });
    await expect(long).rejects.toMatchObject({ status: 400, code: "context_length_exceeded" });
    const size = ai.embeddings.create({ model: "words", input: "a", dimensions: 3 });
    await expect(size).rejects.toMatchObject({ status: 400, param: "dimensions" });
    await expect(size).rejects.toThrow(BadRequestError);
    const wrong = ai.embeddings.create({ model: "chat", input: "a" });
    await expect(wrong).rejects.toMatchObject({ status: 400, code: "wrong-model" });
    const chat = ai.chat.completions.create({ model: "words", messages: [{ role: "user", content: "a" }] });
    await expect(chat).rejects.toMatchObject({ status: 400, code: "wrong-model" });
  });
  it("has a neighbour at /rerank, for clients of Jina's and Cohere's", async () => {
    const body = { model: "fake", query: "a", documents: ["b", "b b b", { text: "b b" }], top_n: 2 };
    const answer = await createFetch(ranker())("http://page/v1/rerank", { method: "POST", body: JSON.stringify(body) });
    expect(await answer.json()).toMatchObject({
      object: "list",
      model: "fake",
      results: [
        { index: 1, relevance_score: 7 },
        { index: 2, relevance_score: 6 },
      ],
      usage: { total_tokens: 5 + 7 + 6 },
      meta: { tokens: { input_tokens: 18, output_tokens: 0 } },
    });
  });
});

describe("the AI SDK", () => {
  it("embeds one and many, with the engine's own parameters", async () => {
    const model = mlcwebEmbedding(embedder({ prompts: { query: "q " } }));
    const one = await embed({ model, value: "a bb" });
    expect(one).toMatchObject({ embedding: A_BB, usage: { tokens: 4 } });
    const providerOptions = { mlcweb: { prompt_name: "query" } };
    const many = await embedMany({ model, values: ["a bb", "c"], providerOptions });
    expect(many.embeddings).toEqual([
      [A_BB[0]! + 1, 5, 0, 0],
      [183, 4, 0, 0],
    ]);
  });
  it("ranks documents, and has both in a provider", async () => {
    const provider = createMlcweb({ words: embedder(), rank: ranker() });
    const answer = await rerank({ model: mlcwebReranking(ranker()), query: "a", documents: ["b", "b b"], topN: 1 });
    expect(answer.ranking).toMatchObject([{ originalIndex: 1, score: 6, document: "b b" }]);
    const documents = [{ b: 1 }, { b: "x y z" }];
    const objects = await rerank({ model: provider.rerankingModel!("rank"), query: "a", documents });
    expect(objects.ranking.map(({ originalIndex }) => originalIndex)).toEqual([1, 0]);
    expect((await embed({ model: provider.embeddingModel("words"), value: "a bb" })).embedding).toEqual(A_BB);
    expect(() => provider.embeddingModel("toString")).toThrow("There is no engine named toString");
  });
});

describe("WebLLM's engine", () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });
  const load = (engine: Engine): Promise<webllm.MLCEngine> => {
    vi.spyOn(Engine, "load").mockResolvedValue(engine);
    const model_list = [{ model: "https://a.example/one/", model_id: "one", model_lib: "" }];
    return webllm.CreateMLCEngine("one", { appConfig: { model_list } });
  };
  it("answers embeddings.create, and names a model of another kind", async () => {
    const mlc = await load(embedder());
    const answer = await mlc.embeddings.create({ input: ["a bb"], model: "one" });
    expect(answer).toMatchObject({ object: "list", model: "one", data: [{ index: 0, embedding: A_BB }] });
    expect(answer.usage.extra.prefill_tokens_per_s).toBeGreaterThan(0);
    await expect(mlc.embedding({ input: [] })).rejects.toMatchObject({ param: "input" });
    const named = { name: "IncorrectPipelineLoadedError", code: "wrong-model" };
    await expect(mlc.chatCompletion({ messages: [{ role: "user", content: "x" }] })).rejects.toMatchObject(named);
  });
});

describe("an engine in a worker", () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });
  const load = (engine: Engine): Promise<WorkerEngine> => {
    vi.spyOn(Engine, "load").mockResolvedValue(engine);
    const { port1, port2 } = new MessageChannel();
    const host = new EngineHost({});
    listen("engine", (wire) => serve(wire, host.methods, host.options), port2);
    return WorkerEngine.load(port1, "https://a.example/one/");
  };
  it("embeds and ranks, with progress, signals and errors", async () => {
    const page = await load(embedder());
    const done: number[] = [];
    const answer = await page.embeddings.create({ input: ["a bb", "c"], onProgress: (said) => done.push(said.done) });
    expect(answer.data.map(({ embedding }) => embedding)).toEqual([A_BB, [182, 3, 0, 0]]);
    expect(done).toEqual([1, 2]);
    const stop = new AbortController();
    const many = page.embeddings.create({ input: new Array<string>(500).fill("a"), signal: stop.signal });
    setTimeout(() => stop.abort(), 5);
    await expect(many).rejects.toBeInstanceOf(CancelledError);
    await expect(page.embeddings.create({ input: "a ".repeat(30) })).rejects.toBeInstanceOf(ContextLengthError);
    await expect(page.rerank({ query: "a", documents: ["b"] })).rejects.toBeInstanceOf(WrongModelError);
    await page.unload();
    const ranking = await load(ranker());
    expect((await ranking.rerank({ query: "a", documents: ["b", "b b"] })).results[0]!.index).toBe(1);
    await ranking.unload();
  });
});
