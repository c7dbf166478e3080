// Defines what Engine.check says, as plain JSON.
import type { Warning } from "../bundle/index.js";
import type { AdapterFacts } from "../device/adapter.js";
import type { StorageFacts } from "../device/storage.js";
import type { Missing } from "../device/tier.js";
import type { LoadOptions } from "../engine/options.js";

/** Those options of `Engine.load` that change what it needs. */
export interface CheckOptions
  extends Pick<
    LoadOptions,
    "signal" | "tier" | "contextLength" | "firstTokens" | "selfCheck" | "cache" | "powerPreference" | "fetch"
  > {
  /** Measure the device's speed, where no earlier check has; true by default. */
  readonly measure?: boolean | undefined;
}

/** What an error of `Engine.load` would say. */
export interface Reason {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** Sizes are in bytes. */
export interface EngineCheck {
  /** The bundle's name and URL. */
  readonly name: string;
  readonly url: string;
  /** Whether a load would go on to download. */
  readonly runs: boolean;
  /** Why not: all that was found, in the order in which a load would meet it. Empty where it runs. */
  readonly reasons: readonly Reason[];
  /** What a load would warn of before it downloads. */
  readonly warnings: readonly Warning[];
  /** The tier that a load would take; null where there is none. */
  readonly tier: string | null;
  /** What the device lacks for the tier that needs least; empty where it runs one. */
  readonly missing: Missing;
  /** null where there is no GPU adapter, or none is asked for. */
  readonly adapter: AdapterFacts | null;
  /** Why there is no GPU adapter, also where the tier `wasm` runs without one. */
  readonly noWebGPU: Reason | null;
  /** Tokens for which memory is told. */
  readonly contextLength: number;
  /** On the GPU, or the CPU's for the tier `wasm`; where no tier runs, that of the bundle's last. `kv` is with all
   * tokens in the KV cache, and `total` with it; `atLoad` is the total before it grows. A browser does not tell how
   * much there is. */
  readonly memory: {
    readonly weights: number;
    readonly kv: number;
    readonly other: number;
    readonly total: number;
    readonly atLoad: number;
  };
  /** What a load reads, how much of that the browser has kept, and what is to be fetched. */
  readonly download: { readonly total: number; readonly kept: number; readonly fetch: number };
  readonly storage: StorageFacts;
  readonly speed: Speed;
}

export interface Speed {
  /** Bytes that the GPU reads and writes in a second, in a plain copy. */
  readonly bandwidth: number | null;
  /** Seconds from one small launch to the next. */
  readonly launch: number | null;
  /** An estimate of decoding at the beginning of a conversation. */
  readonly tokensPerSecond: number | null;
  /** Why there is no estimate. */
  readonly why: string | null;
}
