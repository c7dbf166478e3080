// Offers the engine to automation (mlcweb/browser/). Every function takes and returns plain JSON, and returns a failure
// as {error}.
import {
  type BenchOptions,
  bench,
  type ChatMessage,
  type ChatRequest,
  deleteFromCache,
  type EmbeddingRequest,
  Engine,
  type EngineInfo,
  type LoadOptions,
  type LoadProgress,
  MlcwebError,
  type ProfileOptions,
  probe,
  type RerankRequest,
  type TextsProgress,
  validate,
  type Warning,
} from "mlcweb";
import { addModel, serveApi } from "./api.js";
import { describeBundle, verifyFiles } from "./bundle_files.js";
import { benchLoad, bring } from "./load_bench.js";

interface Failure {
  error: { code: string; message: string; hint: string };
}
type LoadJson = Pick<
  LoadOptions,
  | "tier"
  | "activations"
  | "selfCheck"
  | "recover"
  | "contextLength"
  | "firstTokens"
  | "cache"
  | "verify"
  | "threads"
  | "depth"
  | "powerPreference"
  | "profile"
  | "debug"
>;

/** How far a request about texts is. */
interface TextsDone extends TextsProgress {
  stage: "texts";
}
/** How far verifying a bundle's files is, in bytes. */
interface FilesProgress {
  stage: "files";
  loadedBytes: number;
  totalBytes: number;
}

declare global {
  interface Window {
    mlcweb: typeof harness;
    /** Bindings that automation may expose. */
    mlcwebDelta?: (text: string) => unknown;
    mlcwebProgress?: (progress: LoadProgress | FilesProgress | TextsDone) => unknown;
  }
}

let engine: Engine | undefined;
let loading: AbortController | undefined;
let answering: AbortController | undefined;
let warnings: Warning[] = [];
let steps: AsyncGenerator<Float32Array, void, void> | undefined;

async function guarded<T>(run: () => Promise<T>): Promise<T | Failure> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof MlcwebError) return { error: error.toJSON() };
    return {
      error: {
        code: "internal",
        message: error instanceof Error ? `${error.message}\n${error.stack ?? ""}` : String(error),
        hint: "",
      },
    };
  }
}

function loaded(): Engine {
  if (!engine) throw new MlcwebError("unloaded", "No model is loaded.", "Call load first.");
  return engine;
}

async function ensure(url: string | undefined, options: LoadJson): Promise<Engine> {
  let info: EngineInfo | undefined;
  try {
    info = engine?.info;
  } catch {
    /* unloaded or lost: loaded anew below */
  }
  const { origin, pathname } = new URL(url ?? "", location.href);
  const same =
    info &&
    info.url === origin + pathname &&
    (options.tier ?? info.tier) === info.tier &&
    (options.activations ?? info.activations) === info.activations &&
    options.contextLength === undefined;
  if (url !== undefined && !same) await replace(url, options);
  return loaded();
}

async function replace(
  url: string,
  options: LoadJson,
): Promise<{ info: EngineInfo; warnings: Warning[]; progress: LoadProgress | undefined }> {
  await engine?.unload();
  engine = undefined;
  loading = new AbortController();
  warnings = [];
  let progress: LoadProgress | undefined;
  engine = await Engine.load(url, {
    selfCheck: false, // who drives it validates, or measures
    ...options,
    signal: loading.signal,
    onWarning: (warning) => void warnings.push(warning),
    onProgress: (p) => {
      progress = p;
      void window.mlcwebProgress?.(p);
    },
  });
  return { info: engine.info, warnings, progress };
}

/** The request, which `abort` cancels, and whose progress goes to the binding `mlcwebProgress`. */
function asked<T extends object>(request: T): T & { signal: AbortSignal; onProgress: (p: TextsProgress) => void } {
  answering = new AbortController();
  return {
    ...request,
    signal: answering.signal,
    onProgress: ({ done, total }) => void window.mlcwebProgress?.({ stage: "texts", done, total }),
  };
}

function base64(values: Float32Array): string {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  let text = "";
  for (let i = 0; i < bytes.length; i += 1 << 14) text += String.fromCharCode(...bytes.subarray(i, i + (1 << 14)));
  return btoa(text);
}

const harness = {
  /** Loads a bundle, in place of the one before. */
  load: (url: string, options: LoadJson = {}) => guarded(() => replace(url, options)),
  /** Loads a bundle beside the others that `serveApi` answers with. */
  addModel: (url: string, options: LoadJson = {}) =>
    guarded(async () => ({
      info: await addModel(url, { ...options, onProgress: (p) => void window.mlcwebProgress?.(p) }),
    })),
  /** Answers the server's requests until it ends. */
  serveApi: (relay: string) =>
    guarded(async () => {
      await serveApi(relay);
      return {};
    }),
  /** Cancels the load that is under way: `load` returns the error "cancelled". */
  cancelLoad: () => {
    loading?.abort();
  },
  /** A streamed chat; deltas also go to the binding `mlcwebDelta`. After `interrupt` the answer so far is returned. */
  chat: (messages: ChatMessage[], options: Omit<ChatRequest, "messages" | "stream"> = {}) =>
    guarded(async () => {
      answering = new AbortController();
      let text = "",
        reasoning = "",
        finish: string | null = null,
        usage: unknown = null;
      const logprobs: unknown[] = [];
      const chunks = await loaded().chat.completions.create({
        ...options,
        messages,
        stream: true,
        stream_options: { include_usage: true },
        signal: answering.signal,
      });
      for await (const chunk of chunks) {
        if (chunk.usage) usage = chunk.usage;
        const choice = chunk.choices[0];
        if (!choice) continue;
        const { content = "", reasoning_content: thought = "" } = choice.delta;
        if (choice.index === 0) {
          // Reasoning is shown before the words, and no part of them.
          if (content && reasoning && !text) await window.mlcwebDelta?.("\n\n");
          text += content;
          reasoning += thought;
        }
        if (thought + content) await window.mlcwebDelta?.(thought + content);
        logprobs.push(...(choice.logprobs?.content ?? []));
        if (choice.index === 0) finish = choice.finish_reason ?? finish;
      }
      return { text, reasoning, finish_reason: finish, usage, logprobs };
    }),
  /** Ends the answer that is under way, with finish_reason "abort". */
  interrupt: () => {
    engine?.interrupt();
  },
  /** Cancels the answer that is under way: `chat`, `embed` or `rerank` returns the error "cancelled". */
  abort: () => {
    answering?.abort();
  },
  /** The request as it is, not streamed. */
  create: (request: ChatRequest) =>
    guarded(async () => loaded().chat.completions.create({ ...request, stream: false })),
  complete: (prompt: string, options: Record<string, unknown> = {}) =>
    guarded(async () => loaded().completions.create({ ...options, prompt, stream: false })),
  greedy: (tokens: number[], count: number) => guarded(async () => ({ tokens: await loaded().greedy(tokens, count) })),
  /** The logits of each step as arrays: for small vocabularies. */
  replay: (tokens: number[], following: number[]) =>
    guarded(async () => ({ steps: (await loaded().replay(tokens, following)).map((l) => [...l]) })),
  /** The logits after `next`, when `tokens` were prefilled and `few` were fed together, as those are that a constraint
   * forces. */
  feedFew: (tokens: number[], few: number[], next: number) =>
    guarded(async () => {
      // biome-ignore lint/complexity/useLiteralKeys: a private member, which no page needs
      const { model } = loaded()["held"].answering();
      await loaded().reset();
      await model.prepareFew?.();
      await model.prefill(tokens, 0);
      model.feed(few, tokens.length, 0);
      return { logits: [...(await model.decodeAndRead(next, tokens.length + few.length))] };
    }),
  /** Tokens that `nextSteps` feeds one by one, from an empty context; ends what an earlier call began. */
  beginSteps: (tokens: number[]) =>
    guarded(async () => {
      await steps?.return();
      steps = loaded().replaySteps(tokens.slice(0, 1), tokens.slice(1));
      return {};
    }),
  /** The logits after each of the next tokens, as base64 of little-endian float32: JSON of numbers is five times as
   * long. */
  nextSteps: (count: number) =>
    guarded(async () => {
      const logits: string[] = [];
      while (logits.length < count) {
        const next = await steps?.next();
        if (!next || next.done)
          throw new MlcwebError(
            "invalid-request",
            `${count} steps were asked for, and ${logits.length} are left.`,
            "Call beginSteps first.",
          );
        logits.push(base64(next.value));
      }
      return { logits };
    }),
  /** Embeddings of texts, and documents ranked by a query, of models for that. */
  embed: (request: EmbeddingRequest) => guarded(async () => loaded().embeddings.create(asked(request))),
  rerank: (request: RerankRequest) => guarded(async () => loaded().rerank(asked(request))),
  encode: (text: string, special = true) => guarded(async () => ({ tokens: loaded().encode(text, special) })),
  encodeChat: (messages: { role: string; content: string }[]) =>
    guarded(async () => ({ tokens: loaded().encodeChat(messages) })),
  /** What the bundle at a URL is, and what this device lacks for each of its tiers. */
  describe: (url: string) => guarded(() => describeBundle(url)),
  /** Fetches and verifies every file of the bundle at a URL, and keeps them for loads with `cache`. */
  verifyFiles: (url: string) =>
    guarded(async () => {
      let said = 0;
      const damaged = await verifyFiles(url, (loadedBytes, totalBytes) => {
        if (performance.now() - said < 50 && loadedBytes < totalBytes) return;
        said = performance.now();
        window.mlcwebProgress?.({ stage: "files", loadedBytes, totalBytes });
      });
      return { damaged };
    }),
  /** Replays validation.json of the bundle at a URL, or of the loaded one. JSON has no NaN: null stands for it. */
  validate: (url?: string, options: LoadJson = {}) =>
    guarded(async () => {
      const e = await ensure(url, options);
      const report = await validate(e);
      const finite = (x: number): number | null => (Number.isFinite(x) ? x : null);
      return {
        ...report,
        max_relative_difference: finite(report.max_relative_difference),
        texts: report.texts.map((text) => ({ ...text, relative_difference: finite(text.relative_difference) })),
        steps: report.steps.map((step) => ({ ...step, relative_difference: finite(step.relative_difference) })),
        adapter: e.info.adapter,
        timings: e.info.timings,
      };
    }),
  bench: ({ url, ...options }: BenchOptions & { url?: string } = {}) =>
    guarded(async () => {
      const e = await ensure(url, {});
      const report = await bench(e, options);
      return {
        ...report,
        name: e.info.name,
        tier: e.info.tier,
        adapter: e.info.adapter,
        memory: e.info.memory,
        timings: e.info.timings,
      };
    }),
  /** Loads a bundle twice, as a first visitor does and as one who comes again. */
  benchLoad: (url: string, options: LoadJson = {}) =>
    guarded(async () => {
      const report = await benchLoad(url, async () => {
        await replace(url, { ...options, cache: true });
        return loaded();
      });
      return { ...report, info: loaded().info };
    }),
  /** Brings a bundle's weights as a load does, to no GPU. */
  bring: (url: string, options: Parameters<typeof bring>[1] = {}) => guarded(() => bring(url, options)),
  /** Time per kernel of the loaded bundle; `load` it with profile: true. */
  profile: (options: ProfileOptions = {}) =>
    guarded(async () => {
      const { name, tier, activations, model } = loaded().info;
      return {
        name,
        tier,
        activations,
        quantization: model.quantization,
        layers: model.layers,
        ...(await loaded().profile(options)),
      };
    }),
  probe: () => guarded(probe),
  /** Those of the load, and since. */
  warnings: () => guarded(async () => ({ warnings })),
  info: () => guarded(async () => loaded().info),
  reset: () =>
    guarded(async () => {
      await loaded().reset();
      return {};
    }),
  unload: () =>
    guarded(async () => {
      await engine?.unload();
      return {};
    }),
  deleteFromCache: (url: string) => guarded(async () => ({ deleted: await deleteFromCache(url) })),
};

window.mlcweb = harness;
