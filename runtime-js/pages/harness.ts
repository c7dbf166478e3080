// What automation drives: every function takes and returns plain JSON, and failures come back as {error}.
import { bench, deleteFromCache, Engine, MlcwebError, probe, validate, type BenchOptions, type ChatMessage, type ChatRequest, type LoadOptions, type LoadProgress, type Warning } from "mlcweb";

interface Failure { error: { code: string; message: string; hint: string } }
type LoadJson = Pick<LoadOptions, "tier" | "contextLength" | "cache" | "depth" | "powerPreference">;

declare global {
  interface Window {
    mlcweb: typeof harness;
    /** Bindings that automation may expose. */
    mlcwebDelta?: (text: string) => unknown;
    mlcwebProgress?: (progress: LoadProgress) => unknown;
  }
}

let engine: Engine | undefined;
let loading: AbortController | undefined;
let answering: AbortController | undefined;

async function guarded<T>(run: () => Promise<T>): Promise<T | Failure> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof MlcwebError) return { error: error.toJSON() };
    return { error: { code: "internal", message: error instanceof Error ? `${error.message}\n${error.stack ?? ""}` : String(error), hint: "" } };
  }
}

function loaded(): Engine {
  if (!engine) throw new MlcwebError("unloaded", "No model is loaded.", "Call load first.");
  return engine;
}

const harness = {
  /** Loads a bundle, in place of the one before. */
  load: (url: string, options: LoadJson = {}) => guarded(async () => {
    await engine?.unload();
    engine = undefined;
    loading = new AbortController();
    const warnings: Warning[] = [];
    let progress: LoadProgress | undefined;
    engine = await Engine.load(url, {
      ...options, signal: loading.signal, onWarning: (warning) => warnings.push(warning),
      onProgress: (p) => { progress = p; void window.mlcwebProgress?.(p); },
    });
    return { info: engine.info, warnings, progress };
  }),
  cancelLoad: () => { loading?.abort(); },
  /** A streamed chat; deltas also go to the binding `mlcwebDelta`. */
  chat: (messages: ChatMessage[], options: Omit<ChatRequest, "messages" | "stream"> = {}) => guarded(async () => {
    answering = new AbortController();
    let text = "", finish: string | null = null, usage: unknown = null;
    const logprobs: unknown[] = [];
    const chunks = await loaded().chat.completions.create({ ...options, messages, stream: true, stream_options: { include_usage: true }, signal: answering.signal });
    for await (const chunk of chunks) {
      if (chunk.usage) usage = chunk.usage;
      const choice = chunk.choices[0];
      if (!choice) continue;
      if (choice.delta.content) {
        if (choice.index === 0) text += choice.delta.content;
        await window.mlcwebDelta?.(choice.delta.content);
      }
      logprobs.push(...(choice.logprobs?.content ?? []));
      if (choice.index === 0) finish = choice.finish_reason ?? finish;
    }
    return { text, finish_reason: finish, usage, logprobs };
  }),
  /** The request as it is, not streamed. */
  create: (request: ChatRequest) => guarded(async () => loaded().chat.completions.create({ ...request, stream: false })),
  complete: (prompt: string, options: Record<string, unknown> = {}) => guarded(async () => loaded().completions.create({ ...options, prompt, stream: false })),
  abort: () => { answering?.abort(); },
  interrupt: () => { engine?.interrupt(); },
  greedy: (tokens: number[], count: number) => guarded(async () => ({ tokens: await loaded().greedy(tokens, count) })),
  /** The logits of each step as arrays: for small vocabularies. */
  replay: (tokens: number[], following: number[]) => guarded(async () => ({ steps: (await loaded().replay(tokens, following)).map((l) => [...l]) })),
  encode: (text: string, special = true) => guarded(async () => ({ tokens: loaded().encode(text, special) })),
  encodeChat: (messages: { role: string; content: string }[]) => guarded(async () => ({ tokens: loaded().encodeChat(messages) })),
  /** Validates the bundle at a URL; loads it first unless it is the one that is loaded. */
  validate: (url?: string, options: LoadJson = {}) => guarded(async () => {
    if (url !== undefined) {
      const result = await harness.load(url, options);
      if ("error" in result) return result;
    }
    const e = loaded();
    return { ...(await validate(e)), adapter: e.info.adapter, timings: e.info.timings };
  }),
  bench: (options: BenchOptions = {}) => guarded(async () => {
    const e = loaded();
    const report = await bench(e, options);
    return { ...report, name: e.info.name, tier: e.info.tier, adapter: e.info.adapter, memory: e.info.memory, timings: e.info.timings };
  }),
  probe: () => guarded(probe),
  info: () => guarded(async () => loaded().info),
  reset: () => guarded(async () => { await loaded().reset(); return {}; }),
  unload: () => guarded(async () => { await engine?.unload(); return {}; }),
  deleteFromCache: (url: string) => guarded(async () => ({ deleted: await deleteFromCache(url) })),
};

window.mlcweb = harness;
