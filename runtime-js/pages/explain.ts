// Explains every error code in words, and says what the page can do about it. The engine's message and hint say the
// rest.
import { MlcwebError } from "mlcweb";

/** What a button beside "Try again" does. */
export type Remedy = "shorter-context" | "new-chat";

interface Words {
  readonly title: string;
  /** Not a fault: shown without alarm. */
  readonly calm?: true;
  /** Only a new load can mend it: it gets the whole page. */
  readonly fatal?: true;
  readonly remedy?: Remedy;
  /** "Try again" by default. */
  readonly again?: string;
}

const CODES: Record<string, Words> = {
  "no-webgpu": { title: "This browser cannot use the GPU" },
  "no-wasm": { title: "This page cannot run WebAssembly" },
  "missing-feature": { title: "This GPU cannot run the model" },
  "out-of-memory": { title: "The GPU is out of memory", fatal: true, remedy: "shorter-context" },
  "device-lost": { title: "The GPU went away", fatal: true, again: "Load the model again" },
  "wrong-results": { title: "The model would answer wrongly on this device" },
  gpu: { title: "The GPU reported an error", fatal: true, again: "Load the model again" },
  integrity: { title: "The model's files are damaged" },
  bundle: { title: "The model cannot be loaded" },
  "web-page": { title: "A web page came in place of the model" },
  network: { title: "The download failed" },
  cancelled: { title: "Loading was cancelled", calm: true, again: "Load the model" },
  "context-length": { title: "The conversation is too long", remedy: "new-chat" },
  "invalid-request": { title: "The request is not valid" },
  "wrong-model": { title: "This model is for something else" },
  unloaded: { title: "No model is loaded", fatal: true, again: "Load the model" },
  worker: { title: "The model's worker has ended", fatal: true, again: "Load the model again" },
};
const OTHER: Words = { title: "Something went wrong" };

export interface Explained extends Words {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** What this page's policy kept it from asking last. */
let refused: string | undefined;
document.addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) => {
  if (effectiveDirective === "connect-src") refused = new URL(blockedURI).origin;
});

export function explain(error: unknown): Explained {
  if (error instanceof MlcwebError) {
    const { code, message } = error;
    const policed = code === "network" ? refused : undefined;
    refused = undefined; // the next failure may have another reason
    const hint = policed
      ? `This page's Content-Security-Policy does not let it ask ${policed}: add that to connect-src. ` +
        "For a catalog, `mlcweb serve --catalog URL` does so."
      : error.hint;
    return { ...(CODES[code] ?? OTHER), code, message, hint };
  }
  return {
    ...OTHER,
    code: "internal",
    message: error instanceof Error ? error.message : String(error),
    hint: "Reload the page; if it repeats, report it.",
  };
}
