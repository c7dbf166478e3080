// Finds the adapter, and opens the device with exactly the features and limits that the tier and the buffers need.
import type { Tier } from "../bundle/manifest.js";
import { MissingFeatureError, NoWebGPUError } from "../errors.js";
import type { Capabilities } from "./tier.js";

/** WebGPU's name for it is not in the DOM types of TypeScript before 6, which pages may use. */
export type PowerPreference = "low-power" | "high-performance";

export interface AdapterFacts {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  readonly fallback: boolean;
  /** Whether the CPU does the work. */
  readonly software: boolean;
}

const PROFILING = [
  "timestamp-query",
  "chromium-experimental-timestamp-query-inside-passes",
  "shader-f16",
] as GPUFeatureName[];
const BROWSERS =
  "Use a current Chrome, Edge, Safari 26 or Firefox (on Linux with dom.webgpu.enabled in about:config), " +
  "and check that hardware acceleration is on.";

export async function requestAdapter(powerPreference: PowerPreference = "high-performance"): Promise<GPUAdapter> {
  const gpu = (globalThis.navigator as Navigator | undefined)?.gpu;
  if (!gpu) {
    if (globalThis.isSecureContext === false) {
      throw new NoWebGPUError(
        "WebGPU is off because this page is not secure.",
        "Serve the page over https, or from localhost.",
      );
    }
    throw new NoWebGPUError("This browser has no WebGPU.", BROWSERS);
  }
  // Some platforms refuse `powerPreference` with a warning. They may still give an adapter without it.
  const adapter = (await gpu.requestAdapter({ powerPreference })) ?? (await gpu.requestAdapter());
  if (!adapter)
    throw new NoWebGPUError(
      "This browser has WebGPU, but it offers no GPU adapter.",
      `${BROWSERS} chrome://gpu or about:support says why a GPU is blocked.`,
    );
  return adapter;
}

export function capabilities(adapter: GPUAdapter): Capabilities {
  const limits = adapter.limits as unknown as Record<string, number | undefined>;
  return {
    features: adapter.features as ReadonlySet<string>,
    limit: (name) => limits[name],
    software: isSoftware(adapter.info),
  };
}

/** Whether the CPU does the work. The browser says so, or the renderer's name does. But no CPU has subgroups of 32 or
 * more, whatever its name. A browser that does not know the sizes says 4 to 128. */
export function isSoftware(info: GPUAdapterInfo): boolean {
  const name = `${info.architecture} ${info.device} ${info.description}`.toLowerCase();
  const named = ["swiftshader", "llvmpipe", "lavapipe"].some((renderer) => name.includes(renderer));
  return (named || (info.isFallbackAdapter ?? false)) && (info.subgroupMinSize ?? 0) < 32;
}

export function describeAdapter(adapter: GPUAdapter): AdapterFacts {
  const { vendor, architecture, device, description } = adapter.info;
  return {
    vendor,
    architecture,
    device,
    description,
    fallback: adapter.info.isFallbackAdapter ?? false,
    software: isSoftware(adapter.info),
  };
}

/** Opens a device with a tier's features and limits. `largestBuffer`, in bytes, raises the size limits where the plan
 * needs it. `profile` adds the features for profiling that the adapter has: timestamps, also inside passes, and
 * float16 arithmetic for every tier. */
export async function openDevice(
  adapter: GPUAdapter,
  tier: Pick<Tier, "features" | "limits">,
  largestBuffer: number,
  profile = false,
): Promise<GPUDevice> {
  const limits = Object.fromEntries(tier.limits) as Record<string, number>;
  const has = capabilities(adapter);
  const floors: Record<string, number> = {
    maxBufferSize: 256 * 1024 * 1024,
    maxStorageBufferBindingSize: 128 * 1024 * 1024,
  };
  for (const [name, floor] of Object.entries(floors)) {
    const needed = Math.max(limits[name] ?? 0, largestBuffer);
    if (needed <= floor) continue;
    if ((has.limit(name) ?? 0) < needed) {
      throw new MissingFeatureError(
        `The largest buffer has ${needed} bytes; this GPU admits ${has.limit(name)}.`,
        [`${name} ≥ ${needed}`],
        "Load with a smaller contextLength.",
      );
    }
    limits[name] = needed;
  }
  const features = [...tier.features] as GPUFeatureName[];
  for (const feature of profile ? PROFILING : []) {
    if (adapter.features.has(feature) && !features.includes(feature)) features.push(feature);
  }
  try {
    return await adapter.requestDevice({ requiredFeatures: features, requiredLimits: limits, label: "mlcweb" });
  } catch (error) {
    throw new NoWebGPUError(
      `The GPU device could not be opened: ${error instanceof Error ? error.message : String(error)}`,
      BROWSERS,
    );
  }
}
