// Finds out whether WebAssembly runs here, before anything is fetched for it.
import { NoWasmError } from "../errors.js";

/** The smallest module: its magic number and version. */
const EMPTY = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
/** What a Content-Security-Policy must have. */
const DIRECTIVE = "script-src 'wasm-unsafe-eval'";

/** Throws NoWasmError where model.wasm cannot run. */
export async function requireWasm(): Promise<void> {
  if (typeof WebAssembly === "undefined")
    throw new NoWasmError("This browser has no WebAssembly.", "Use a current browser, and turn Lockdown Mode off.");
  try {
    await WebAssembly.compile(EMPTY);
  } catch {
    throw new NoWasmError(
      `This page's Content-Security-Policy keeps WebAssembly from running: it lacks ${DIRECTIVE}.`,
      "Add that to the policy. A worker has one of its own, from its script's headers.",
      DIRECTIVE,
    );
  }
}
