import { afterEach, describe, expect, it, vi } from "vitest";
import type { Engine } from "../src/engine/engine.js";
import { findFaults, loadRight } from "../src/engine/self_check.js";
import { nameOf, Verdicts } from "../src/engine/verdicts.js";
import { CancelledError, GpuError, NetworkError } from "../src/errors.js";

const INFO = { vendor: "v", architecture: "a", device: "d", description: "" } as GPUAdapterInfo;
const checked = (name: string, activations: "float" | "int8" = "float") => ({
  tier: { name, kernels: `${name}.wgsl` },
  activations,
});

function store() {
  const kept = new Map<string, string>();
  return {
    kept,
    choice: async (name: string) => kept.get(name),
    keepChoice: async (name: string, value: string) => {
      kept.set(name, value);
    },
  };
}

afterEach(() => {
  vi.unstubAllGlobals();
});

describe("verdicts", () => {
  it("are kept for a bundle, an adapter and a browser", async () => {
    const source = store();
    vi.stubGlobal("navigator", { userAgent: "Chrome/1" });
    const warnings: string[] = [];
    const first = new Verdicts(({ message }) => warnings.push(message));
    await first.open(source, nameOf(INFO));
    expect(first.isWrong(checked("base"))).toBe(false);
    await first.note(checked("base"), false, 0.25);
    await first.note(checked("base", "int8"), false, NaN);
    await first.note(checked("software"), true, 1e-6);
    expect(first.isWrong(checked("base"))).toBe(true);
    expect(first.isWrong(checked("base"))).toBe(true);
    expect(first.isWrong(checked("base", "int8"))).toBe(true);
    expect(warnings).toEqual([
      "The tier base computes wrong results on this device (25 % off), and is not used.",
      "The tier base with int8 prefill computes wrong results on this device (no finite numbers), and is not used.",
    ]);
    const again = new Verdicts(undefined);
    await again.open(source, nameOf(INFO));
    expect([again.isWrong(checked("base")), again.isRight(checked("software"))]).toEqual([true, true]);
    const other = new Verdicts(undefined);
    await other.open(source, nameOf({ ...INFO, description: "driver 2" }));
    expect([other.isWrong(checked("base")), other.isRight(checked("software"))]).toEqual([false, false]);
    vi.stubGlobal("navigator", { userAgent: "Chrome/2" });
    const updated = new Verdicts(undefined);
    await updated.open(source, nameOf(INFO));
    expect(updated.isRight(checked("software"))).toBe(false);
  });

  it.each(["", "{", "[]", "3", '{"right": 3}'])("that are damaged (%s) are found again", async (text) => {
    const source = store();
    source.choice = async () => text;
    const verdicts = new Verdicts(undefined);
    await verdicts.open(source, nameOf(INFO));
    expect(verdicts.isWrong(checked("base"))).toBe(false);
    await verdicts.note(checked("base"), false, 1);
    expect(verdicts.isWrong(checked("base"))).toBe(true);
  });
});

describe("a load", () => {
  const engine = (answer: () => Promise<boolean>) => {
    const unload = vi.fn(async () => {});
    return { unload, checkItself: answer } as unknown as Engine & { unload: typeof unload };
  };

  it("goes on until something is right, and unloads what is not", async () => {
    const engines = [engine(async () => false), engine(async () => false), engine(async () => true)];
    const opened = vi.fn(async () => engines[opened.mock.calls.length - 1]!);
    expect(await loadRight({}, opened)).toBe(engines[2]);
    expect(engines.map(({ unload }) => unload.mock.calls.length)).toEqual([1, 1, 0]);
  });

  it("unloads what cannot be checked", async () => {
    const one = engine(async () => {
      throw new CancelledError("Stop.");
    });
    await expect(loadRight({}, async () => one)).rejects.toThrow("Stop.");
    expect(one.unload).toHaveBeenCalledTimes(1);
  });

  it("is not checked where nobody wants it", async () => {
    const check = vi.fn(async () => false);
    const one = engine(check);
    const opened = vi.fn(async () => one);
    expect(await loadRight({ selfCheck: false }, opened)).toBe(one);
    expect(opened).toHaveBeenCalledWith();
    expect(check).not.toHaveBeenCalled();
  });
});

describe("the check", () => {
  const STEP = { top: [[1, 2.0]], range: 4 };
  const validation = (steps = 6) => ({
    prompt: "",
    tokens: [3, 4],
    greedy: Array.from({ length: steps }, () => 1),
    steps: Array.from({ length: steps }, () => STEP),
    tolerance: { float32: 1e-3, float16: 2e-2, int8: 5e-2, matrix: 2e-2 },
  });
  function checking(logits: (step: number) => number, sampled: readonly number[] | Error = [1, 1, 1, 1], more = {}) {
    const asked: number[][] = [];
    const engine = {
      info: { model: { vocab_size: 5 }, contextLength: 64, tier: "base", activations: "float", tiers: [] },
      validation: async () => validation(),
      async *replaySteps(tokens: number[], following: number[]) {
        asked.push(tokens, following);
        for (let i = 0; i <= following.length; i++) yield Float32Array.of(0, logits(i), 0, 0, 0);
      },
      greedy: async () => {
        if (sampled instanceof Error) throw sampled;
        return sampled;
      },
      ...more,
    } as unknown as Engine;
    return { asked, found: findFaults(engine) };
  }

  it("takes the first steps alone", async () => {
    const { asked, found } = checking(() => 2);
    expect(await found).toEqual({ ok: true, difference: 0 });
    expect(asked).toEqual([
      [3, 4],
      [1, 1, 1],
    ]);
  });

  it.each([
    ["a wrong prefill", (step: number) => (step === 0 ? 2.1 : 2), 0.025],
    ["a wrong decode step", (step: number) => (step === 3 ? 1 : 2), 0.25],
    ["no number", (step: number) => (step === 1 ? NaN : 2), NaN],
    ["an overflow", () => Infinity, Infinity],
  ])("finds %s", async (_, logits, difference) => {
    const found = await checking(logits).found;
    expect(found!.ok).toBe(false);
    expect(Number.isFinite(difference) ? found!.difference.toFixed(5) : found!.difference).toEqual(
      Number.isFinite(difference) ? difference.toFixed(5) : difference,
    );
  });

  it("finds what samples wrong", async () => {
    expect(await checking(() => 2, [1, 1, 4, 1]).found).toEqual({ ok: false, difference: 0 });
    expect((await checking(() => 2, new GpuError("no token")).found)!.ok).toBe(false);
  });

  it("says nothing where there is nothing to compare with", async () => {
    const without = { validation: async () => undefined };
    expect(await checking(() => 0, [], without).found).toBeUndefined();
    const offline = {
      validation: async () => {
        throw new NetworkError("offline", "");
      },
    };
    expect(await checking(() => 0, [], offline).found).toBeUndefined();
    const info = { model: { vocab_size: 5 }, contextLength: 5, tier: "base", activations: "float" };
    expect(await checking(() => 0, [], { info }).found).toBeUndefined();
  });
});
