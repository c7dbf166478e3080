// Exports serveEngine for service workers, which must import all of their code when they start: what constrains
// answers, embeds texts and reads pictures is imported too.
import * as constrain from "../constrain/index.js";
import * as embed from "../embed/index.js";
import * as images from "../images/index.js";
import { type ServeEngineOptions, serveEngine as serve } from "./serve_engine.js";

export const serveEngine = (options: ServeEngineOptions = {}): void => serve({ constrain, embed, images, ...options });
export type { ServeEngineOptions };
