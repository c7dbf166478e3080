// Exports serveEngine, which is all of a worker's script.
import { EngineHost, type Own } from "./engine_methods.js";
import { listen } from "./listen.js";
import { serve } from "./session.js";
import type { ExtensionPort } from "./wire.js";

export interface ServeEngineOptions extends Own {
  /** Serves who is at the other end of this port, and nobody else. */
  readonly port?: MessagePort | ExtensionPort | undefined;
}

const common = new EngineHost({});

/** Serves engines to the pages of this worker: dedicated, shared or service worker, an extension's worker or its
 * offscreen page. Call it while the script runs for the first time, not later. */
export function serveEngine({ port, ...own }: ServeEngineOptions = {}): void {
  const host = Object.keys(own).length > 0 ? new EngineHost(own) : common;
  listen(host.options.service, (wire) => serve(wire, host.methods, host.options), port);
}
