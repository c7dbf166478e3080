// Tests WebLLM's engine on a page and its handlers in workers, over engines without a GPU and real ports.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ChatCompletion, ChatCompletionChunk, Completion } from "../src/chat/index.js";
import type { LoadOptions } from "../src/engine/options.js";
import { CancelledError, MlcwebError } from "../src/errors.js";
import { Engine } from "../src/index.js";
import {
  CreateExtensionServiceWorkerMLCEngine,
  CreateServiceWorkerMLCEngine,
  CreateWebWorkerMLCEngine,
  ExtensionServiceWorkerMLCEngineHandler,
  type MLCEngineConfig,
  ServiceWorkerMLCEngine,
  ServiceWorkerMLCEngineHandler,
  WebWorkerMLCEngine,
  WebWorkerMLCEngineHandler,
} from "../src/webllm/index.js";
import { open } from "./fake_engine.js";
import { extensionPorts, pause } from "./worker_pair.js";

const APP = {
  model_list: [
    { model: "one", model_id: "one", model_lib: "" },
    { model: "https://a.example/two/", model_id: "two", model_lib: "" },
  ],
};
const messages = [{ role: "user" as const, content: "x" }];
const request = { messages, temperature: 0, max_tokens: 5 };
const textOf = (answer: unknown): string => (answer as ChatCompletion).choices[0]!.message.content!;
let loads: { url: string; options: LoadOptions }[] = [];
let warnings: string[] = [];
let delay = 5;

beforeEach(() => {
  [loads, warnings, delay] = [[], [], 5];
  vi.spyOn(console, "warn").mockImplementation((text) => void warnings.push(String(text)));
  vi.spyOn(Engine, "load").mockImplementation(async (url, options = {}) => {
    loads.push({ url: url as string, options });
    options.onProgress?.({ stage: "manifest", text: "", loadedBytes: 0, totalBytes: 0, fraction: 0 });
    await pause(delay);
    if (options.signal?.aborted) throw new CancelledError("The load was cancelled.", options.signal.reason);
    return open().engine;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

/** What a page has of a worker whose script hands its messages to the handler. */
function worker(handler = new WebWorkerMLCEngineHandler()): { worker: Worker; handler: WebWorkerMLCEngineHandler } {
  const { port1, port2 } = new MessageChannel();
  port2.addEventListener("message", (event) => handler.onmessage(event as MessageEvent));
  port2.start();
  return { worker: port1 as unknown as Worker, handler };
}
const create = (at: Worker, config: MLCEngineConfig = {}, ids: string | string[] = "one") =>
  CreateWebWorkerMLCEngine(at, ids, { appConfig: APP, baseUrl: "https://b.example/m", ...config });

describe("an engine in a worker", () => {
  it("answers as one on the page, whole and as a stream", async () => {
    const mlc = await create(worker().worker);
    const whole = (await mlc.chat.completions.create(request)) as ChatCompletion;
    const chunks: ChatCompletionChunk[] = [];
    for await (const chunk of await mlc.chat.completions.create({ ...request, stream: true })) chunks.push(chunk);
    expect(whole.model).toBe("one");
    expect(chunks.map(({ choices: [one] }) => one?.delta.content ?? "").join("")).toBe(textOf(whole));
    expect(await mlc.getMessage()).toBe(textOf(whole));
    expect(await mlc.runtimeStatsText()).toMatch(/^prefill: /);
    const echo = (await mlc.completions.create({ prompt: "p", echo: true, max_tokens: 1 })) as Completion;
    expect(echo.choices[0]!.text).toMatch(/^p\d/);
    await mlc.resetChat();
    expect(await mlc.forwardTokensAndSample([5], true)).toBeTypeOf("number");
    await mlc.unload();
    await expect(mlc.getMessage()).rejects.toMatchObject({ name: "ModelNotLoadedError" });
  });

  it("is asked for nothing before its first load, and after it is unloaded", async () => {
    const mlc = new WebWorkerMLCEngine(worker().worker, { appConfig: APP, baseUrl: "https://b.example/m" });
    const never = { name: "WorkerEngineModelNotLoadedError", code: "unloaded" };
    await expect(mlc.chatCompletion(request)).rejects.toMatchObject(never);
    await expect(mlc.completion({ prompt: "x" })).rejects.toMatchObject(never);
    await expect(mlc.embedding({ input: "x" })).rejects.toMatchObject(never);
    await expect(mlc.getMessage()).rejects.toMatchObject({ name: "ModelNotLoadedError" });
    await mlc.reload("one");
    expect(textOf(await mlc.chatCompletion(request))).not.toBe("");
    await expect(mlc.embedding({ input: "x" })).rejects.toMatchObject({ name: "IncorrectPipelineLoadedError" });
    await mlc.unload();
    await expect(mlc.chatCompletion(request)).rejects.toMatchObject(never);
  });

  it("says what it runs on, takes another list, and hears of the log", async () => {
    const { worker: at, handler } = worker();
    const mlc = new WebWorkerMLCEngine(at);
    expect(mlc.worker).toBe(at);
    mlc.setAppConfig(APP);
    mlc.setLogLevel("DEBUG");
    await mlc.reload("two");
    expect(loads).toMatchObject([{ url: "https://a.example/two/", options: { debug: 3 } }]);
    handler.engine.getGPUVendor = async () => "someone's";
    handler.engine.getMaxStorageBufferBindingSize = async () => 2048;
    expect([await mlc.getGPUVendor(), await mlc.getMaxStorageBufferBindingSize()]).toEqual(["someone's", 2048]);
    mlc.setLogLevel("WARN");
    await mlc.getMessage();
    await handler.engine.reload("two");
    expect(loads[1]!.options.debug).toBe(0);
  });

  it("has the page's configuration and place, and its errors cross by name", async () => {
    const reports: string[] = [];
    const config = { initProgressCallback: ({ text }: { text: string }) => void reports.push(text), depth: 3 };
    const mlc = await create(worker().worker, config);
    expect(loads).toMatchObject([{ url: "https://b.example/m/one", options: { depth: 3 } }]);
    expect([reports[0], reports.at(-1)]).toEqual(["Start to fetch params", "Finish loading on WebGPU - fake"]);
    const error = await mlc.chatCompletion({ ...request, temperature: 9 }).catch((caught) => caught);
    expect(error).toBeInstanceOf(MlcwebError);
    expect(error).toMatchObject({ code: "invalid-request", param: "temperature" });
    await expect(mlc.reload("three")).rejects.toMatchObject({ name: "ModelNotFoundError" });
    await expect(mlc.reload(["one"], [{}, {}])).rejects.toMatchObject({ name: "ReloadArgumentSizeUnmatchedError" });
  });

  it("resolves ids against the page, as it was when the engine was made", async () => {
    vi.stubGlobal("document", { baseURI: "https://page.example/app/index.html" });
    const mlc = new WebWorkerMLCEngine(worker().worker, { appConfig: APP });
    vi.stubGlobal("document", { baseURI: "https://page.example/elsewhere/" });
    await mlc.reload(["one", "two"]);
    expect(loads.map(({ url }) => url)).toEqual(["https://page.example/app/one", "https://a.example/two/"]);
  });

  it("is interrupted, and stopped while it loads", async () => {
    const { worker: at } = worker();
    const mlc = await create(at);
    const chunks = (await mlc.chat.completions.create({ ...request, max_tokens: 20, stream: true }))[
      Symbol.asyncIterator
    ]();
    await chunks.next();
    mlc.interruptGenerate();
    let reason: string | null | undefined;
    for (let next = await chunks.next(); !next.done; next = await chunks.next())
      reason = next.value.choices[0]!.finish_reason;
    expect(reason).toBe("abort");
    delay = 50;
    const loading = mlc.reload("two");
    await mlc.unload();
    await loading;
    expect(warnings).toEqual([expect.stringContaining("unload() stopped")]);
  });

  it("warns of what cannot cross, and refuses functions by name", async () => {
    const registry = new Map([
      ["one", { processLogits: (x: Float32Array) => x, processSampledToken() {}, resetState() {} }],
    ]);
    await create(worker().worker, { logitProcessorRegistry: registry });
    expect(warnings).toEqual([expect.stringContaining("logitProcessorRegistry")]);
    await expect(create(worker().worker, { fetch: (url) => fetch(url) })).rejects.toMatchObject({ param: "fetch" });
  });

  it("uses the handler's logit processors and its fetch", async () => {
    const own = { fetch: (url: string, init: RequestInit) => fetch(url, init) };
    const handler = new WebWorkerMLCEngineHandler(own);
    const processor = {
      processLogits: (logits: Float32Array) => logits.map((x, i) => (i === 7 ? 100 : x)),
      processSampledToken() {},
      resetState() {},
    };
    handler.setLogitProcessorRegistry(new Map([["one", processor]]));
    const mlc = await create(worker(handler).worker);
    expect(textOf(await mlc.chatCompletion({ ...request, max_tokens: 2 }))).toBe("7 7 ");
    expect(loads[0]!.options.fetch).toBe(own.fetch);
  });

  it("leaves other messages to the app", () => {
    const handler = new WebWorkerMLCEngineHandler();
    for (const event of [{}, { data: 5 }, { data: { kind: "customRequest" }, ports: [] }]) handler.onmessage(event);
    const { port1 } = new MessageChannel();
    handler.onmessage({ data: "x", ports: [port1] });
    port1.close();
  });
});

describe("a service worker", () => {
  it("loads a model once for the pages that ask for it alike", async () => {
    const handler = new ServiceWorkerMLCEngineHandler();
    const [first, second] = await Promise.all([create(worker(handler).worker), create(worker(handler).worker)]);
    const reports: { progress: number }[] = [];
    const third = await create(worker(handler).worker, { initProgressCallback: (report) => void reports.push(report) });
    expect([loads.length, reports.at(-1)?.progress]).toEqual([1, 1]);
    const texts = await Promise.all([first, second, third].map((mlc) => mlc.chatCompletion(request)));
    expect(new Set(texts.map(textOf)).size).toBe(1);
    await second.reload("two");
    expect(loads.length).toBe(2);
    await third.unload();
    await create(worker(handler).worker, {}, "two");
    expect(loads.length).toBe(3);
  });

  it("misses no heartbeat, by which apps tell whether it is there", () => {
    vi.stubGlobal("navigator", { serviceWorker: { ready: new Promise(() => {}) } });
    expect(new ServiceWorkerMLCEngine({}, 1000).missedHeartbeat).toBe(0);
    expect(warnings.join()).toMatch(/keepAliveMs/);
    warnings = [];
    void new ServiceWorkerMLCEngine();
    expect(warnings).toEqual([]);
  });

  it("is refused by name where a page can have none", async () => {
    vi.stubGlobal("navigator", {});
    await expect(CreateServiceWorkerMLCEngine("one")).rejects.toMatchObject({ name: "NoServiceWorkerAPIError" });
  });
});

describe("an extension", () => {
  it("serves its ports, each once, and those that come later", async () => {
    let handler: ExtensionServiceWorkerMLCEngineHandler | undefined;
    const names: unknown[] = [];
    const ends: ReturnType<typeof extensionPorts>[number][] = [];
    const gone = vi.fn();
    const connect = (...args: unknown[]) => {
      names.push(...args);
      const [ours, theirs] = extensionPorts();
      ends.push(theirs);
      if (handler) handler.setPort(theirs);
      else handler = new ExtensionServiceWorkerMLCEngineHandler(theirs);
      handler.setPort(theirs); // again
      return ours;
    };
    vi.stubGlobal("chrome", { runtime: { connect } });
    const config = { appConfig: APP, baseUrl: "https://b.example", onDisconnect: gone };
    const first = await CreateExtensionServiceWorkerMLCEngine("one", config);
    const second = await CreateExtensionServiceWorkerMLCEngine("one", { ...config, extensionId: "abc" });
    expect(names).toEqual([{ name: "web_llm_service_worker" }, "abc", { name: "web_llm_service_worker" }]);
    expect(loads.length).toBe(1);
    expect(textOf(await first.chatCompletion(request))).toBe(textOf(await second.chatCompletion(request)));
    expect(gone).not.toHaveBeenCalled();
    for (const end of ends.splice(0)) end.disconnect();
    expect(gone).toHaveBeenCalledTimes(2); // each page's engine has a port of its own
  });

  it("is refused by name where there is none", async () => {
    await expect(CreateExtensionServiceWorkerMLCEngine("one")).rejects.toThrow(/^chrome\.runtime/);
  });
});
