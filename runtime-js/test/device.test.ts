import { describe, expect, it } from "vitest";
import type { Tier } from "../src/bundle/index.js";
import { isSoftware } from "../src/device/adapter.js";
import { chooseTier, Guard, Memory, mergeRequirements } from "../src/device/index.js";
import {
  DeviceLostError,
  GpuError,
  InvalidRequestError,
  MissingFeatureError,
  OutOfMemoryError,
  UnloadedError,
} from "../src/errors.js";

const tier = (name: string, features: string[], limits: [string, number][] = []): Tier => ({
  name,
  features,
  limits: new Map(limits),
  plan: "p",
  kernels: "k",
});
const TIERS = [
  tier("f16-subgroups", ["shader-f16", "subgroups"]),
  tier("subgroups", ["subgroups"], [["maxComputeWorkgroupStorageSize", 32768]]),
  tier("base", []),
];
const adapter = (features: string[], limits: Record<string, number> = {}, software = false) => ({
  features: new Set(features),
  limit: (n: string) => limits[n],
  software,
});

describe("tier choice", () => {
  it("takes the first that the adapter can run", () => {
    expect(chooseTier(TIERS, adapter(["shader-f16", "subgroups"])).name).toBe("f16-subgroups");
    expect(chooseTier(TIERS, adapter(["subgroups"], { maxComputeWorkgroupStorageSize: 32768 })).name).toBe("subgroups");
    expect(chooseTier(TIERS, adapter(["subgroups"], { maxComputeWorkgroupStorageSize: 16384 })).name).toBe("base");
    expect(chooseTier(TIERS, adapter(["subgroups"])).name).toBe("base");
  });
  it("takes the one asked for, or says what is missing", () => {
    expect(chooseTier(TIERS, adapter(["shader-f16", "subgroups"]), "base").name).toBe("base");
    expect(() => chooseTier(TIERS, adapter([]), "f16")).toThrow(InvalidRequestError);
    expect(() => chooseTier(TIERS, adapter(["subgroups"]), "f16-subgroups")).toThrow(/lacks shader-f16/);
  });
  it("gives a CPU the software tier and a GPU any other, where the bundle has one that fits", () => {
    const all = [...TIERS, tier("software", ["subgroups"])];
    const features = ["shader-f16", "subgroups"];
    expect(chooseTier(all, adapter(features, {}, true)).name).toBe("software");
    expect(chooseTier(all, adapter([], {}, true)).name).toBe("base");
    expect(chooseTier(TIERS, adapter(features, {}, true)).name).toBe("f16-subgroups");
    expect(chooseTier(all, adapter(features)).name).toBe("f16-subgroups");
    expect(chooseTier(all, adapter(features), "software").name).toBe("software");
    expect(chooseTier(all.slice(3), adapter(features)).name).toBe("software");
  });
  it("says what each tier needs when none fits", () => {
    let error: unknown;
    try {
      chooseTier(TIERS.slice(0, 2), adapter(["shader-f16"]));
    } catch (e) {
      error = e;
    }
    expect(error).toBeInstanceOf(MissingFeatureError);
    expect((error as MissingFeatureError).missing).toEqual(["subgroups", "maxComputeWorkgroupStorageSize ≥ 32768"]);
  });
  it("opens a device with an entry's needs beside the tier's", () => {
    const needs = {
      features: ["subgroups", "matrices"],
      limits: new Map([
        ["maxComputeWorkgroupStorageSize", 20480],
        ["minUniformBufferOffsetAlignment", 64],
      ]),
      subgroupSize: 32,
      subgroupMatrix: { component: "f16", result: "f32", m: 16, n: 16, k: 16 },
    };
    expect(mergeRequirements(TIERS[1]!, undefined)).toBe(TIERS[1]);
    const both = mergeRequirements(
      {
        ...TIERS[1]!,
        limits: new Map([
          ["maxComputeWorkgroupStorageSize", 32768],
          ["minUniformBufferOffsetAlignment", 128],
        ]),
      },
      needs,
    );
    expect([both.features, ...both.limits.values()]).toEqual([["subgroups", "matrices"], 32768, 64]);
    expect([...mergeRequirements(TIERS[2]!, needs).limits.values()]).toEqual([20480, 64]);
  });
  it("reads alignment limits the other way round", () => {
    const aligned = [tier("base", [], [["minUniformBufferOffsetAlignment", 64]])];
    expect(chooseTier(aligned, adapter([], { minUniformBufferOffsetAlignment: 32 })).name).toBe("base");
    expect(() => chooseTier(aligned, adapter([], { minUniformBufferOffsetAlignment: 256 }))).toThrow(
      MissingFeatureError,
    );
  });
});

describe("software adapters", () => {
  const info = (facts: Partial<GPUAdapterInfo>) =>
    ({ vendor: "", architecture: "", device: "", description: "", ...facts }) as GPUAdapterInfo;
  it("are known by the browser's word or by name", () => {
    expect(isSoftware(info({ isFallbackAdapter: true }))).toBe(true);
    expect(
      isSoftware(info({ vendor: "google", architecture: "swiftshader", subgroupMinSize: 4, subgroupMaxSize: 4 })),
    ).toBe(true);
    expect(
      isSoftware(info({ description: "llvmpipe (LLVM 19.1.7, 256 bits)", subgroupMinSize: 8, subgroupMaxSize: 8 })),
    ).toBe(true);
    expect(isSoftware(info({ vendor: "arm", architecture: "valhall", subgroupMinSize: 16, subgroupMaxSize: 16 }))).toBe(
      false,
    );
  });
  it("have small subgroups, whatever a GPU's driver calls itself", () => {
    expect(
      isSoftware(
        info({
          vendor: "google",
          architecture: "swiftshader",
          isFallbackAdapter: true,
          subgroupMinSize: 32,
          subgroupMaxSize: 32,
        }),
      ),
    ).toBe(false);
    // Firefox tells neither a name nor subgroups.
    expect(isSoftware(info({ isFallbackAdapter: true, subgroupMinSize: 4, subgroupMaxSize: 128 }))).toBe(true);
  });
});

function fakeDevice() {
  let lose!: (info: GPUDeviceLostInfo) => void;
  const listeners: ((event: unknown) => void)[] = [];
  const device = {
    lost: new Promise<GPUDeviceLostInfo>((resolve) => (lose = resolve)),
    addEventListener: (_: string, listener: (event: unknown) => void) => listeners.push(listener),
    destroy: () => {},
  };
  return {
    device: device as unknown as GPUDevice,
    lose: (message: string) => lose({ message, reason: "unknown" } as GPUDeviceLostInfo),
    report: (message: string) => {
      for (const listener of listeners) listener({ error: { message } });
    },
  };
}

describe("guard", () => {
  const never = new Promise<never>(() => {});
  it("rejects pending and later operations when the device is lost", async () => {
    const { device, lose } = fakeDevice();
    const guard = new Guard(device);
    const pending = guard.race(never);
    lose("driver reset");
    await expect(pending).rejects.toThrow(DeviceLostError);
    await expect(guard.race(Promise.resolve(1))).rejects.toThrow(/driver reset/);
    expect(() => guard.check()).toThrow(DeviceLostError);
  });
  it("explains a rejected map by the loss behind it", async () => {
    const { device, lose } = fakeDevice();
    const guard = new Guard(device);
    const pending = guard.race(Promise.reject(new DOMException("unmapped", "AbortError")));
    setTimeout(() => lose("gone"), 5);
    await expect(pending).rejects.toThrow(DeviceLostError);
  });
  it("turns uncaptured errors and unloading into typed errors", async () => {
    const one = fakeDevice();
    const guard = new Guard(one.device);
    one.report("bad dispatch");
    await expect(guard.race(never)).rejects.toThrow(GpuError);
    const closed = new Guard(fakeDevice().device);
    const pending = closed.race(never);
    closed.close();
    await expect(pending).rejects.toThrow(UnloadedError);
  });
});

describe("memory", () => {
  const allocator = (error: "out-of-memory" | "validation" | undefined) => {
    const scopes: string[] = [];
    const destroyed: string[] = [];
    return {
      destroyed,
      pushErrorScope: (s: string) => scopes.push(s),
      popErrorScope: async () => (scopes.pop() === error ? { message: "no" } : null),
      createBuffer: ({ label }: { label: string }) => ({ destroy: () => destroyed.push(label) }),
    };
  };
  it("counts by kind, rounds up and gives everything back", async () => {
    const device = allocator(undefined);
    const memory = new Memory(device as never);
    await memory.scoped(() => {
      memory.create("weight", "w", 101, 0);
      memory.create("kv", "k", 64, 0);
    });
    expect(memory.use).toMatchObject({ weight: 104, kv: 64, total: 168 });
    memory.destroy();
    expect(device.destroyed).toEqual(["w", "k"]);
    expect(memory.use.total).toBe(0);
  });
  it("names what the GPU refused", async () => {
    await expect(new Memory(allocator("out-of-memory") as never).scoped(() => 1)).rejects.toThrow(OutOfMemoryError);
    await expect(new Memory(allocator("validation") as never).scoped(() => 1)).rejects.toThrow(GpuError);
  });
});
