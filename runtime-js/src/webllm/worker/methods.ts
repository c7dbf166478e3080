// Offers an engine's methods to pages, by name.
import type { CallContext, Methods } from "../../worker/index.js";
import type { MLCEngine } from "../engine.js";
import type { ChatOptions, MLCEngineConfig } from "../types/config.js";

export const SERVICE = "web-llm";

/** What a page sends with a load. */
export interface Reload {
  readonly ids: string[];
  readonly chatOpts: ChatOptions[] | undefined;
}

/** `own` are options that cannot cross, which the worker's script gives; `keeps`: loading what is loaded does nothing,
 * so that several pages share it. */
export function methodsOf(
  engine: () => MLCEngine,
  own: Pick<MLCEngineConfig, "fetch" | "constrain" | "embed" | "images">,
  keeps: boolean,
): Methods {
  let last = "";
  let loading: Promise<void> | undefined;
  return {
    async reload(_context, { ids, chatOpts }: Reload, config: MLCEngineConfig) {
      const { initProgressCallback: report, ...rest } = config;
      const asked = JSON.stringify([ids, chatOpts, rest]);
      if (keeps && asked === last && (loading || engine().has(ids))) {
        await loading;
        report?.({ progress: 1, timeElapsed: 0, text: "Finish loading on WebGPU" });
        return;
      }
      last = asked;
      engine().configure({ ...config, ...own });
      const mine = engine().reload(ids, chatOpts);
      loading = mine;
      try {
        await mine;
      } finally {
        if (loading === mine) loading = undefined;
      }
    },
    chatCompletion: (context, request) => engine().chatCompletion(ended(request, context)),
    completion: (context, request) => engine().completion(ended(request, context)),
    embedding: (context, request) => engine().embedding(ended(request, context)),
    unload: () => engine().unload(),
    interruptGenerate: () => engine().interruptGenerate(),
    resetChat: (_, keepStats, modelId) => engine().resetChat(keepStats, modelId),
    getMessage: (_, modelId) => engine().getMessage(modelId),
    runtimeStatsText: (_, modelId) => engine().runtimeStatsText(modelId),
    forwardTokensAndSample: (_, ids, isPrefill, modelId) => engine().forwardTokensAndSample(ids, isPrefill, modelId),
    getMaxStorageBufferBindingSize: () => engine().getMaxStorageBufferBindingSize(),
    getGPUVendor: () => engine().getGPUVendor(),
    setLogLevel: (_, level) => engine().setLogLevel(level),
  };
}

/** The request with the call's signal, which fires when the page is gone. What is wrong stays, to be refused. */
function ended<T>(request: T, { signal }: CallContext): T {
  if (typeof request !== "object" || request === null || Array.isArray(request)) return request;
  const { signal: given } = request as { signal?: unknown };
  return given == null || given instanceof AbortSignal ? { ...request, signal } : request;
}
