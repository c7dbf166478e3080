import { afterEach, describe, expect, it, vi } from "vitest";
import { matrixNeeds, openChoice, requestPipelines } from "../src/engine/activations.js";
import { InvalidRequestError, MissingFeatureError } from "../src/errors.js";
import { guard, host, names, parts, plan, recording, settled } from "./prefill_parts.js";

afterEach(() => {
  vi.unstubAllGlobals();
});

describe("the choice of activations", () => {
  it("asks for the pipelines that it times before all others, and waits for no other", async () => {
    const choice = await openChoice(undefined, parts());
    const { pipelines, asked, finish } = recording();
    const requested = requestPipelines(pipelines, choice, () => {});
    expect(asked.slice(0, 2).sort()).toEqual(["up", "up_int8"]);
    expect(asked.slice(2).sort()).toEqual(["attend", "embed", "mask", "matvec", "pick"]);
    finish[0]!();
    finish[1]!();
    expect(await requested.candidates).toEqual(choice.prefills);
    expect(pipelines.get(names.indexOf("up"))).toBe("up");
  });

  it("makes no pipeline twice, and says of each that it is made", async () => {
    const choice = await openChoice(undefined, parts());
    const { pipelines, asked, finish } = recording();
    requestPipelines(pipelines, choice, () => {});
    let made = 0;
    const all = pipelines.create([1, 4, 3], () => {
      made++;
    });
    expect(asked).toHaveLength(8);
    for (const done of finish) done();
    await all;
    expect(made).toBe(3);
  });

  it("times nothing where it was asked for or kept, and then all pipelines are common", async () => {
    for (const choice of [await openChoice("int8", parts()), await openChoice(undefined, parts("int8"))]) {
      expect(choice.timed).toEqual([]);
      expect([...choice.common].map((i) => names[i]).sort()).toEqual([
        "attend",
        "embed",
        "mask",
        "matvec",
        "pick",
        "round",
        "up_int8",
      ]);
      expect((await choice.rank(choice.prefills, {} as never)).map((p) => p.activations)).toEqual(["int8"]);
    }
    expect((await openChoice(undefined, parts("nonsense"))).timed).toHaveLength(2);
  });

  it("is of those that compute right", async () => {
    const wrong = (cached?: string) => ({ ...parts(cached, true), isWrong: (name: string) => name === "int8" });
    const names = async (cached?: string) =>
      (await openChoice(undefined, wrong(cached))).prefills.map(({ activations }) => activations);
    expect(await names()).toEqual(["float", "matrix"]);
    expect(await names("int8")).toEqual(["float", "matrix"]); // it was chosen before it was found wrong
    await expect(openChoice("int8", wrong())).rejects.toMatchObject({ code: "wrong-results" });
    expect((await openChoice("float", wrong())).prefills[0]!.activations).toBe("float");
  });
});

const fastest = { up_matrix: 1, up_int8: 2, up: 3 };

describe("what was timed", () => {
  it("is told, and not timed where there is no choice left", async () => {
    const choice = await openChoice(undefined, parts(undefined, true));
    expect(choice.report).toBeUndefined();
    await settled(choice, fastest);
    expect(choice.report).toMatchObject({
      sure: true,
      timed: [
        { activations: "float", kernel: "up", rows: 8 },
        { activations: "int8", kernel: "up_int8" },
        { activations: "matrix", kernel: "up_matrix" },
      ],
    });
    for (const { launch_ms, kernel, runs_ms } of choice.report!.timed) {
      expect(launch_ms).toBe(Math.min(...runs_ms));
      expect(launch_ms / fastest[kernel as keyof typeof fastest]).toBeCloseTo(1, 0);
    }
    const one = await openChoice(undefined, parts(undefined, true));
    const { pipelines } = recording();
    expect(await one.rank([one.prefills[1]!], { device: {} as never, guard, host, pipelines })).toEqual([
      one.prefills[1],
    ]);
    expect(one.report).toBeUndefined();
  });

  it("without being sure, is timed again at the next load, and kept when that agrees", async () => {
    const busy = { held: [1, 150] } as const,
      load = async (cached: string | undefined, times: Readonly<Record<string, number>>) => {
        const given = parts(cached, true),
          choice = await openChoice(undefined, given);
        expect(choice.timed).toHaveLength(3);
        const { used } = await settled(choice, times, [], busy);
        expect(choice.report!.sure).toBe(false);
        return { used, cached: given.keeping };
      };
    const lead = { up_matrix: 1, up_int8: 400, up: 400 },
      other = { up_matrix: 400, up_int8: 1, up: 400 };
    expect(await load(undefined, lead)).toEqual({ used: "matrix", cached: ["matrix?"] });
    expect(await load("matrix?", lead)).toEqual({ used: "matrix", cached: ["matrix"] });
    expect(await load("matrix?", other)).toEqual({ used: "int8", cached: ["int8?"] });
  });
});

describe("prefill on subgroup matrices", () => {
  it("is one of three where the device has what it needs, and kept where it is the fastest", async () => {
    const given = parts(undefined, true),
      choice = await openChoice(undefined, given);
    expect(choice.prefills.map((p) => p.activations)).toEqual(["float", "int8", "matrix"]);
    expect(choice.timed.map((i) => names[i])).toEqual(["up", "up_int8", "up_matrix"]);
    const { used, warnings, asked } = await settled(choice, fastest);
    expect([used, warnings, given.keeping]).toEqual(["matrix", [], ["matrix"]]);
    expect(asked).toContain("down_matrix");
    expect((await settled(await openChoice(undefined, given), { ...fastest, up_matrix: 4 })).used).toBe("int8");
  });

  it("costs nothing where it is not offered: neither a pipeline nor a choice of its own", async () => {
    const given = parts(),
      choice = await openChoice(undefined, given);
    const { used, asked } = await settled(choice, fastest);
    expect(used).toBe("int8");
    expect(asked.filter((name) => /matrix|halve/.test(name))).toEqual([]);
    expect(given.asked[0]).not.toContain("matrix");
    const offered = parts(undefined, true);
    await openChoice(undefined, offered);
    expect(offered.asked[0]).not.toBe(given.asked[0]); // what was kept without it does not hide it
  });

  it("is out, with a note, where the timed kernel does not compile", async () => {
    const given = parts(undefined, true);
    const { used, candidates, warnings } = await settled(await openChoice(undefined, given), fastest, ["up_matrix"]);
    expect([used, candidates, given.keeping]).toEqual(["int8", ["float", "int8"], ["int8"]]);
    expect(warnings).toEqual([
      expect.stringMatching(/^matrix-refused: .*up_matrix does not compile.*line 3: unknown builtin/),
    ]);
  });

  it("is out where another of its kernels does not compile, though it was the fastest", async () => {
    const given = parts(undefined, true);
    const { used, warnings } = await settled(await openChoice(undefined, given), fastest, ["down_matrix"]);
    expect([used, warnings.length, given.keeping]).toEqual(["int8", 1, ["int8"]]);
  });

  it("kept from another version of the browser, it gives way to floats, and the next load measures", async () => {
    const given = parts("matrix", true),
      choice = await openChoice(undefined, given);
    expect(choice.timed).toEqual([]);
    expect((await settled(choice, {})).used).toBe("matrix");
    expect(given.keeping).toEqual([]);
    const { used, warnings } = await settled(choice, {}, ["up_matrix"]);
    expect([used, warnings.length, given.keeping]).toEqual(["float", 1, [""]]);
    expect((await openChoice(undefined, parts("", true))).timed).toHaveLength(3);
    expect((await openChoice(undefined, parts("matrix"))).timed).toHaveLength(2); // no longer offered
  });

  it("that is asked for is used or an error, never another", async () => {
    const choice = await openChoice("matrix", parts(undefined, true));
    expect((await settled(choice, {})).used).toBe("matrix");
    const { pipelines } = recording(["up_matrix"], true);
    const { common } = requestPipelines(pipelines, choice, () => {});
    await expect(common).rejects.toThrow(/up_matrix does not compile/);
  });

  it("any other kernel that does not compile is an error", async () => {
    const choice = await openChoice(undefined, parts(undefined, true));
    await expect(settled(choice, fastest, ["up_int8"])).rejects.toThrow(/up_int8 does not compile/);
    await expect(settled(choice, { ...fastest, up_int8: 0.5 }, ["round"])).rejects.toThrow(/round does not compile/);
  });
});

describe("what a device is opened with for it", () => {
  const config = { componentType: "f16", resultComponentType: "f32", M: 16, N: 16, K: 16 };
  const info = { subgroupMinSize: 32, subgroupMaxSize: 32, subgroupMatrixConfigs: [{ ...config, K: 8 }, config] };
  const adapter = (changes: object = {}, features = ["matrices"], storage = 32768) =>
    ({
      info: { ...info, ...changes },
      features: new Set(features),
      limits: { maxComputeWorkgroupStorageSize: storage },
    }) as unknown as GPUAdapter;
  const { tier, manifest } = parts(),
    { needs } = plan.entries.prefill_matrix!;
  const asked = (wanted: "float" | "matrix" | undefined, on: GPUAdapter, of = plan) =>
    matrixNeeds(wanted, of, on, tier, manifest);

  it("is what the entry needs, where the adapter has it and nothing else is asked for", () => {
    expect(asked(undefined, adapter())).toBe(needs);
    expect(asked("matrix", adapter())).toBe(needs);
    expect(asked("float", adapter())).toBeUndefined();
  });

  it.each([
    ["the feature", adapter({}, [])],
    ["the limit", adapter({}, ["matrices"], 16384)],
    ["the configuration", adapter({ subgroupMatrixConfigs: [{ ...config, resultComponentType: "f16" }] })],
    ["any configuration", adapter({ subgroupMatrixConfigs: undefined })],
    ["subgroups of one size", adapter({ subgroupMaxSize: 64 })],
    ["subgroups", adapter({ subgroupMinSize: undefined, subgroupMaxSize: undefined })],
  ])("is nothing without %s, and an error where it is asked for", (_, on) => {
    expect(asked(undefined, on)).toBeUndefined();
    expect(() => asked("matrix", on)).toThrow(MissingFeatureError);
  });

  it("is nothing for a bundle without such an entry", () => {
    const without = { ...plan, entries: { ...plan.entries, prefill_matrix: undefined } };
    expect(asked(undefined, adapter(), without)).toBeUndefined();
    expect(() => asked("matrix", adapter(), without)).toThrow(InvalidRequestError);
  });
});
