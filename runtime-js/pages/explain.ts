// What happened, in words, for every error code; the engine's message and hint say the rest.
import { MlcwebError } from "mlcweb";

const TITLES: Record<string, string> = {
  "no-webgpu": "This browser cannot use the GPU",
  "missing-feature": "This GPU cannot run the model",
  "out-of-memory": "The GPU is out of memory",
  "device-lost": "The GPU went away",
  gpu: "The GPU reported an error",
  integrity: "The model's files are damaged",
  bundle: "The model cannot be loaded",
  network: "The download failed",
  cancelled: "Cancelled",
  "context-length": "The conversation is too long",
  "invalid-request": "The request is not valid",
  unloaded: "No model is loaded",
};

export function explain(error: unknown): { code: string; title: string; message: string; hint: string } {
  if (error instanceof MlcwebError) {
    const { code, message, hint } = error;
    return { code, title: TITLES[code] ?? "Something went wrong", message, hint };
  }
  return { code: "internal", title: "Something went wrong", message: error instanceof Error ? error.message : String(error), hint: "Reload the page; if it repeats, report it." };
}
