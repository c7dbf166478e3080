// A small valid manifest and plan for tests to break.
import { type Manifest, parseManifest } from "../src/bundle/index.js";
import { GOOD } from "./contract_cases.js";

// biome-ignore lint/suspicious/noExplicitAny: tests break documents in ways that types forbid
export type Any = Record<string, any>;

export const manifestJson = (): Any => structuredClone(GOOD.manifest) as Any;
export const manifest = (): Manifest => parseManifest(JSON.stringify(manifestJson()));
export const planJson = (): Any => structuredClone(GOOD.plan) as Any;
/** The wasm's name. Its size and hash are those of the bytes 0 to 99. */
export const WASM: string = manifest().wasm;
