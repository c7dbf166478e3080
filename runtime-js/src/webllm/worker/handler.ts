// Defines what a worker's script has: an engine of the worker's, and the pages that it serves.
import { portWire, serve, type Wire } from "../../worker/index.js";
import { isConnect } from "../../worker/protocol.js";
import { MLCEngine } from "../engine.js";
import type { MLCEngineConfig } from "../types/config.js";
import type { LogitProcessor } from "../types/engine.js";
import { methodsOf, SERVICE } from "./methods.js";

/** Options of a load that a page cannot send. */
export type OwnOptions = Pick<MLCEngineConfig, "fetch" | "constrain" | "embed" | "images">;

export class WebWorkerMLCEngineHandler {
  engine = new MLCEngine();
  private readonly methods: ReturnType<typeof methodsOf>;

  constructor(own: OwnOptions = {}, keeps = false) {
    this.methods = methodsOf(() => this.engine, own, keeps);
  }

  /** Hears a message to the worker, and serves the page that it is from. Other messages are the app's. */
  onmessage(event: { readonly data?: unknown; readonly ports?: readonly MessagePort[] } | null): void {
    const port = event?.ports?.[0];
    if (port && isConnect(event?.data, SERVICE)) this.accept(portWire(port));
  }

  /** For an app's own messages to the page. */
  postMessage(message: unknown): void {
    (globalThis as unknown as { postMessage(message: unknown): void }).postMessage(message);
  }

  setLogitProcessorRegistry(logitProcessorRegistry?: Map<string, LogitProcessor>): void {
    this.engine.setLogitProcessorRegistry(logitProcessorRegistry);
  }

  protected accept(wire: Wire): void {
    serve(wire, this.methods, { service: SERVICE });
  }
}
