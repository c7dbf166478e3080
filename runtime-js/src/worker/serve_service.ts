// Exports serveEngine for service workers, which must import all of their code when they start: what constrains answers
// is imported too.
import * as constrain from "../constrain/index.js";
import { type ServeEngineOptions, serveEngine as serve } from "./serve_engine.js";

export const serveEngine = (options: ServeEngineOptions = {}): void => serve({ constrain, ...options });
export type { ServeEngineOptions };
