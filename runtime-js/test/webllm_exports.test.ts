// Tests that WebLLM's names are there, from both of the package's doors, and what its constants say.
import { describe, expect, it, vi } from "vitest";
import * as root from "../src/root.js";
import * as webllm from "../src/webllm/index.js";

/** The values that npm's @mlc-ai/web-llm 0.2.86 exports. */
const NAMES = [
  "ARTIFACT_SCHEMA_VERSION",
  "Chat",
  "ChatCompletionRequestUnsupportedFields",
  "Completions",
  "CreateExtensionServiceWorkerMLCEngine",
  "CreateMLCEngine",
  "CreateServiceWorkerMLCEngine",
  "CreateWebWorkerMLCEngine",
  "Embeddings",
  "ExtensionServiceWorkerMLCEngine",
  "ExtensionServiceWorkerMLCEngineHandler",
  "IntegrityError",
  "MLCEngine",
  "MODEL_PACKAGE_MANIFEST_FILENAME",
  "ModelType",
  "ServiceWorkerMLCEngine",
  "ServiceWorkerMLCEngineHandler",
  "TENSOR_CACHE_MANIFEST_FILENAME",
  "WebWorkerMLCEngine",
  "WebWorkerMLCEngineHandler",
  "deleteChatConfigInCache",
  "deleteModelAllInfoInCache",
  "deleteModelInCache",
  "deleteModelWasmInCache",
  "functionCallingModelIds",
  "hasModelInCache",
  "isValidSRI",
  "modelLibURLPrefix",
  "modelVersion",
  "postInitAndCheckFieldsChatCompletion",
  "postInitAndCheckFieldsCompletion",
  "postInitAndCheckFieldsEmbedding",
  "prebuiltAppConfig",
  "rejectCompletionResumable",
  "verifyIntegrity",
];

describe("WebLLM's names", () => {
  it("are all there, and no others", () => {
    expect(Object.keys(webllm).sort()).toEqual([...NAMES].sort());
  });

  it("are the package's too, beside the engine's", () => {
    const names: Record<string, unknown> = { ...root };
    for (const name of NAMES) expect(names[name], name).toBe((webllm as Record<string, unknown>)[name]);
    expect(root.Engine).toBeTypeOf("function");
  });
});

describe("the models", () => {
  const { model_list: list } = webllm.prebuiltAppConfig;
  it("have WebLLM's ids, each once, and a bundle's name", () => {
    expect(new Set(list.map(({ model_id }) => model_id)).size).toBe(list.length);
    expect(list.length).toBeGreaterThan(100);
    const short = list.find(({ model_id }) => model_id === "phi-2-q4f16_1-MLC-1k");
    expect(short).toMatchObject({ model: "phi-2-q4f16_1", overrides: { context_window_size: 1024 } });
    for (const id of webllm.functionCallingModelIds) expect(list.some(({ model_id }) => model_id === id)).toBe(true);
  });

  it("take more memory with more context, and less with fewer bits", () => {
    const memory = (id: string): number => list.find(({ model_id }) => model_id === id)!.vram_required_MB!;
    expect(memory("phi-2-q4f16_1-MLC")).toBeGreaterThan(memory("phi-2-q4f16_1-MLC-1k"));
    expect(memory("Qwen3-0.6B-q0f32-MLC")).toBeGreaterThan(memory("Qwen3-0.6B-q4f32_1-MLC"));
  });
});

describe("checks of requests", () => {
  const messages = [{ role: "user" as const, content: "x" }];
  it("throw what the engine would throw", () => {
    webllm.postInitAndCheckFieldsChatCompletion({ messages }, "x", webllm.ModelType.LLM);
    const wrong = { messages, temperature: 9 };
    expect(() => webllm.postInitAndCheckFieldsChatCompletion(wrong, "x", webllm.ModelType.LLM)).toThrow(/^temperature/);
    webllm.postInitAndCheckFieldsCompletion({ prompt: "x", echo: true, logit_bias: { 5: 1 } }, "x");
    expect(() => webllm.postInitAndCheckFieldsCompletion({ prompt: "x", suffix: "y" }, "x")).toThrow(/^suffix/);
    webllm.postInitAndCheckFieldsEmbedding({ input: "x" }, "x");
    expect(() => webllm.postInitAndCheckFieldsEmbedding({ input: [] }, "x")).toThrow(/^input/);
    const kept = { prompt: "x", extra_body: { resumable: { enabled: true } } } as never;
    expect(() => webllm.rejectCompletionResumable(kept)).toThrow(/^extra_body\.resumable/);
    webllm.rejectCompletionResumable({ prompt: "x" });
  });
});

describe("integrity", () => {
  const data = new TextEncoder().encode("abc").buffer as ArrayBuffer;
  // FIPS 180's example
  const sri = "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
  it("knows what a hash looks like", () => {
    const wrong = ["", "sha256-", sri.slice(0, -1), `${sri} `, sri.replace("256", "384"), "md5-AAAA", 5 as never];
    expect([sri, ...wrong].map(webllm.isValidSRI)).toEqual([true, ...wrong.map(() => false)]);
  });

  it("is checked, and what differs is told", async () => {
    await webllm.verifyIntegrity(data, sri, "https://a.example/x");
    const other = `sha256-${"A".repeat(43)}=`;
    await expect(webllm.verifyIntegrity(data, other, "https://a.example/x")).rejects.toMatchObject({
      name: "IntegrityError",
      url: "https://a.example/x",
      expected: other,
      actual: sri,
    });
    await expect(webllm.verifyIntegrity(data, "x", "u")).rejects.toThrow(/^integrity/);
    await expect(webllm.verifyIntegrity(data, "sha1-abc123", "u")).rejects.toThrow(/^integrity/);
    const error = await webllm.verifyIntegrity(data, other, "u").catch((caught) => caught);
    expect(error).toBeInstanceOf(webllm.IntegrityError);
  });

  // FIPS 180's examples
  it.each([
    ["", "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="],
    ["abc", "sha384-ywB1P0WjXou1oD1pmsZQBycsMqsO3tFjGotgWkP/W+2AhgcroefMI1i67KE0yCWn"],
    ["abc", "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw=="],
  ])("is checked with each algorithm, and of no bytes: %j, %s", async (text, hash) => {
    expect(webllm.isValidSRI(hash)).toBe(true);
    await webllm.verifyIntegrity(new TextEncoder().encode(text).buffer as ArrayBuffer, hash, "u");
    const refused = webllm.verifyIntegrity(new TextEncoder().encode(`${text} `).buffer as ArrayBuffer, hash, "u");
    await expect(refused).rejects.toMatchObject({ name: "IntegrityError", expected: hash });
  });

  it("may be warned of instead", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const other = `sha256-${"A".repeat(43)}=`;
    await webllm.verifyIntegrity(data, other, "https://a.example/x", "warn");
    const [text] = warn.mock.calls[0]!;
    for (const part of ["https://a.example/x", other, sri]) expect(text).toContain(part);
    warn.mockRestore();
  });
});
