// The log: what each level says, that it is said where it is asked for alone, and which tiers an adapter refuses.
import { afterEach, expect, test, vi } from "vitest";
import type { Tier } from "../src/bundle/manifest.js";
import { describeLaunches, describePrefill, describeTier } from "../src/debug/texts.js";
import { missingFor } from "../src/device/tier.js";
import type { Prefill, PrefillChoice } from "../src/engine/activations.js";
import { Log } from "../src/log.js";
import type { PlanKernel } from "../src/plan/parse.js";

afterEach(() => vi.restoreAllMocks());

function listen(): string[] {
  const said: string[] = [];
  vi.spyOn(console, "debug").mockImplementation((text: string) => void said.push(text));
  return said;
}

test("a level says what it and those below it have, and makes no other text", async () => {
  const said = listen();
  const never = vi.fn(() => "never");
  const log = await Log.open(2);
  log.say(1, () => "one");
  log.say(2, () => "two");
  log.say(3, never);
  Log.silent.say(1, never);
  expect(said).toEqual(["mlcweb one", "mlcweb two"]);
  expect(never).not.toHaveBeenCalled();
});

test("timed gives the result, and says nothing of what failed", async () => {
  const said = listen();
  const log = await Log.open(1);
  expect(await log.timed(1, "work", Promise.resolve(7))).toBe(7);
  await expect(log.timed(1, "broken", Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(said).toEqual([expect.stringMatching(/^mlcweb work: \d+\.\d ms$/)]);
});

test.each([-1, 5, 1.5, Number.NaN])("%s is no level", async (level) => {
  await expect(Log.open(level)).rejects.toThrow("debug: must be an integer from 0 to 4.");
});

test("launches are counted by kernel, in the order of the first", () => {
  const launches = ["b", "a", "b"].map((name) => ({ op: name, kernel: { name } as PlanKernel, buffers: [] }));
  expect(describeLaunches({ name: "prefill", dims: "7", launches })).toBe("prefill(7): 3 launches: b 2, a 1");
  expect(describeLaunches({ name: "decode", dims: undefined, launches: [] })).toBe("decode(): 0 launches: ");
});

test("a prefill has its times, where it was timed", () => {
  const int8 = { activations: "int8" } as Prefill;
  const choice = { prefills: [int8, int8] } as unknown as PrefillChoice;
  expect(describePrefill(int8, choice)).toBe("prefill int8: the first to compile");
  const timed = [{ activations: "int8" as const, kernel: "k", rows: 512, launch_ms: 1.25, runs_ms: [] }];
  expect(describePrefill(int8, { ...choice, report: { sure: false, timed } })).toBe(
    "prefill int8: not sure, int8 1.250 ms (k, 512 rows)",
  );
});

test("each tier has the reason for it or against it", () => {
  const tier = (name: string, features: string[], limits: [string, number][] = []): Tier =>
    ({ name, features, limits: new Map(limits) }) as unknown as Tier;
  const tiers = [
    tier("f16", ["shader-f16"]),
    tier("large", ["subgroups"], [["maxBufferSize", 1e10]]),
    tier("subgroups", ["subgroups"]),
    tier("base", []),
  ];
  const info = { vendor: "acme", architecture: "", device: "", description: "GPU 1" } as GPUAdapterInfo;
  const limits: Record<string, number> = { maxBufferSize: 268435456, maxStorageBufferBindingSize: 134217728 };
  const has = { features: new Set(["subgroups"]), limit: (name: string) => limits[name], software: false };
  const missing = (other: Tier): string[] => missingFor(other, has);
  expect(describeTier(info, has, tiers, tiers[2]!, false, missing).split("\n")).toEqual([
    "adapter: acme GPU 1",
    "features: subgroups",
    "limits: maxBufferSize 268435456, maxStorageBufferBindingSize 134217728",
    "tier f16: refused, lacks shader-f16",
    "tier large: refused, lacks maxBufferSize ≥ 10000000000",
    "tier subgroups: chosen, the first that this adapter can run",
    "tier base: possible, but not the first",
  ]);
  const asked = describeTier(info, { ...has, software: true }, tiers, tiers[3]!, true, missing);
  expect(asked).toContain("adapter: acme GPU 1 (a CPU)");
  expect(asked).toContain("tier base: chosen, as asked for");
});
