// Defines WebLLM's engine in a service worker, which all pages of a site share.
import { unsupported } from "../errors.js";
import type { ChatOptions, MLCEngineConfig } from "../types/config.js";
import { type OwnOptions, WebWorkerMLCEngineHandler } from "./handler.js";
import { WebWorkerMLCEngine } from "./page.js";

const scope = globalThis as unknown as EventTarget & { readonly ServiceWorkerGlobalScope?: new () => object };

let current: ServiceWorkerMLCEngineHandler | undefined;

/** Serves the pages of a service worker. A page that asks for the model that is loaded shares it. */
export class ServiceWorkerMLCEngineHandler extends WebWorkerMLCEngineHandler {
  constructor(own: OwnOptions = {}) {
    super(own, true);
    current = this;
  }
}

// A service worker hears only what it listens for when its script starts, which may be long after the app made its
// handler in the event `activate`: that comes once, and the browser starts the script often.
if (scope.ServiceWorkerGlobalScope && scope instanceof scope.ServiceWorkerGlobalScope)
  scope.addEventListener("message", (event) => {
    current ??= new ServiceWorkerMLCEngineHandler();
    current.onmessage(event as MessageEvent);
  });

export class ServiceWorkerMLCEngine extends WebWorkerMLCEngine {
  /** Apps take an engine for dead that misses several. None does: a call starts a worker that has ended. */
  missedHeartbeat = 0;

  /** The page's service worker, once it is active. It is kept from ending for as long as the page has the engine. */
  constructor(engineConfig: MLCEngineConfig = {}, keepAliveMs?: number) {
    super(container(), engineConfig);
    if (keepAliveMs !== undefined)
      this.notes.unused("keepAliveMs", "a page keeps its service worker for as long as it has the engine.");
  }
}

function container(): ServiceWorkerContainer {
  const found = globalThis.navigator?.serviceWorker;
  if (found) return found;
  const error = unsupported("serviceWorker", "this page can have none.");
  error.name = "NoServiceWorkerAPIError";
  throw error;
}

export async function CreateServiceWorkerMLCEngine(
  modelId: string | string[],
  engineConfig?: MLCEngineConfig,
  chatOpts?: ChatOptions | ChatOptions[],
  keepAliveMs?: number,
): Promise<ServiceWorkerMLCEngine> {
  const engine = new ServiceWorkerMLCEngine(engineConfig, keepAliveMs);
  await engine.reload(modelId, chatOpts);
  return engine;
}
