// Defines WebLLM's engine in a browser extension's service worker, which its pages reach through extension ports.
import type { ExtensionPort } from "../../worker/index.js";
import { extensionWire } from "../../worker/wire.js";
import { unsupported } from "../errors.js";
import type { ChatOptions, MLCEngineConfig } from "../types/config.js";
import { type OwnOptions, WebWorkerMLCEngineHandler } from "./handler.js";
import { WebWorkerMLCEngine } from "./page.js";

/** By which the extension's script knows the connection; apps compare it. */
const PORT_NAME = "web_llm_service_worker";

interface Runtime {
  connect(...args: unknown[]): ExtensionPort;
}
type WithRuntime = { readonly chrome?: { readonly runtime?: Runtime } };

/** Serves the other end of a port. Its messages come by themselves: `onmessage` need not be called. */
export class ExtensionServiceWorkerMLCEngineHandler extends WebWorkerMLCEngineHandler {
  port: ExtensionPort | null = null;
  private readonly served = new WeakSet<ExtensionPort>();

  constructor(port: ExtensionPort, own: OwnOptions = {}) {
    super(own, true);
    this.setPort(port);
  }

  /** Serves another port too; a popup that is opened again has a new one. */
  setPort(port: ExtensionPort): void {
    this.port = port;
    if (this.served.has(port)) return;
    this.served.add(port);
    port.onDisconnect.addListener(() => this.onPortDisconnect(port));
    this.accept(extensionWire(port));
  }

  onPortDisconnect(port: ExtensionPort): void {
    if (port === this.port) this.port = null;
  }

  override postMessage(message: unknown): void {
    this.port?.postMessage(message);
  }
}

export interface ExtensionMLCEngineConfig extends MLCEngineConfig {
  /** Another extension's, or of a page that is none of the extension's. */
  extensionId?: string;
  onDisconnect?: () => void;
}

export class ExtensionServiceWorkerMLCEngine extends WebWorkerMLCEngine {
  constructor({ extensionId, onDisconnect, ...engineConfig }: ExtensionMLCEngineConfig = {}, keepAliveMs?: number) {
    super(() => {
      const port = connect(extensionId);
      if (onDisconnect) port.onDisconnect.addListener(onDisconnect);
      return port;
    }, engineConfig);
    if (keepAliveMs !== undefined) this.notes.unused("keepAliveMs", "a call starts a worker that has ended.");
  }
}

function connect(extensionId: string | undefined): ExtensionPort {
  const { runtime } = (globalThis as WithRuntime).chrome ?? {};
  if (!runtime) throw unsupported("chrome.runtime", "is not there: this is no page of an extension.");
  const options = { name: PORT_NAME };
  return extensionId === undefined ? runtime.connect(options) : runtime.connect(extensionId, options);
}

export async function CreateExtensionServiceWorkerMLCEngine(
  modelId: string | string[],
  engineConfig?: ExtensionMLCEngineConfig,
  chatOpts?: ChatOptions | ChatOptions[],
  keepAliveMs?: number,
): Promise<ExtensionServiceWorkerMLCEngine> {
  const engine = new ExtensionServiceWorkerMLCEngine(engineConfig, keepAliveMs);
  await engine.reload(modelId, chatOpts);
  return engine;
}
