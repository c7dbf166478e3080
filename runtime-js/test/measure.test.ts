import { describe, expect, it } from "vitest";
import { comparedLaunches, heaviestLaunch, timeInTurn } from "../src/plan/index.js";
import type { PlanLaunch } from "../src/plan/parse.js";
import { type Behaviour, SimulatedGpu } from "./simulated.js";

const buffers = [
  { name: "x", kind: "scratch" as const, bytes: 1 << 30 },
  { name: "head", kind: "weight" as const, bytes: 500 },
  ...[0, 1, 2].map((i) => ({ name: `up.${i}`, kind: "weight" as const, bytes: 200 })),
];

it("an entry stands or falls with the kernel that reads the most weights in all its launches", () => {
  const launches = [
    { kernel: 4, op: "x", args: [0] },
    ...[2, 3, 4].map((arg) => ({ kernel: 7, op: "x", args: [arg, 0] })),
    { kernel: 9, op: "x", args: [1, 0] },
  ];
  expect(heaviestLaunch({ buffers }, { launches })).toBe(1);
  expect(heaviestLaunch({ buffers }, { launches: launches.slice(3) })).toBe(1);
});

it("a large vocabulary decides nothing: its rows are read one by one, and the head is the last token's", () => {
  const launches = [
    { kernel: 1, op: "embed", args: [1, 0] },
    { kernel: 2, op: "per_layer_embed", args: [1, 0] },
    { kernel: 7, op: "gate_up", args: [2, 0] },
    { kernel: 9, op: "head", args: [1, 0] },
  ];
  expect(heaviestLaunch({ buffers }, { launches })).toBe(2);
  expect(heaviestLaunch({ buffers }, { launches: launches.slice(3) })).toBe(0);
});

it("entries are compared by the product with one weight, whatever else each of them reads", () => {
  const product = (kernel: number, arg: number): PlanLaunch => ({ kernel, op: "x", args: [0, arg] });
  const float = { launches: [product(1, 1), product(2, 2), product(2, 3), product(2, 4)] };
  // here each of the three has a kernel of its own, so that the head is the heaviest
  const int8 = { launches: [product(5, 2), product(6, 3), product(7, 4), product(8, 1)] };
  expect(comparedLaunches({ buffers }, [float, int8])).toEqual([1, 0]);
  expect(comparedLaunches({ buffers }, [float, { launches: [product(9, 1)] }])).toEqual([1, 0]);
  expect(comparedLaunches({ buffers }, [int8, float])).toEqual([3, 0]);
});

/** Milliseconds of float, int8 and matrix: the 1B shape's gate and up of 512 rows on an H100, a smaller model's, a
 * slower GPU's. */
const SHAPES = [
  [0.85, 0.305, 0.205],
  [0.05, 0.022, 0.016],
  [9, 4, 3],
] as const;
const SEEDS = Array.from({ length: 40 }, (_, i) => i + 1);

async function choose(times: readonly number[], behaviour: Behaviour, seed: number) {
  const gpu = new SimulatedGpu(behaviour, seed);
  const { times: timed, sure } = await timeInTurn(
    times.map((ms) => gpu.kernel(ms)),
    behaviour.tick ?? 0.005,
  );
  const ms = timed.map((run) => run.ms);
  return { fastest: times[ms.indexOf(Math.min(...ms))], sure, ms, gpu, timed };
}

describe("timing side by side", () => {
  it.each<[string, Behaviour]>([
    ["a quiet browser", {}],
    ["a clock of 0.1 ms", { tick: 0.1 }],
    ["one of 1 ms", { tick: 1 }],
    ["one of 2 ms", { tick: 2 }],
    ["one of 16.7 ms", { tick: 16.67 }],
    ["first runs that wait for compilation", { first: 350 }],
    ["clocks that rise at once", { ramp: [4, 100] }],
    ["clocks that rise slowly", { ramp: [3, 300] }],
    ["runs that differ", { jitter: 0.04 }],
    ["half of the runs held up by others' shaders and downloads", { held: [0.5, 8] }],
    ["a third held up for long", { held: [0.3, 40] }],
    ["bursts of that", { held: [0.6, 10], bursts: 60 }],
    ["dear submissions, held up", { submit: 3, held: [0.5, 6] }],
    ["all at once", { first: 200, tick: 0.1, held: [0.5, 8], ramp: [3, 100], jitter: 0.03 }],
  ])("finds the fastest in %s", async (_, behaviour) => {
    for (const times of SHAPES) {
      for (const seed of SEEDS) expect((await choose(times, behaviour, seed)).fastest, `seed ${seed}`).toBe(times[2]);
    }
  });

  it.each([[[0, 1, 2]], [[0, 2, 1]], [[1, 0, 2]], [[1, 2, 0]], [[2, 0, 1]], [[2, 1, 0]]])(
    "in whichever order (%s)",
    async (order) => {
      const times = order.map((i) => SHAPES[0][i]!);
      for (const seed of SEEDS)
        expect((await choose(times, { first: 200, held: [0.5, 8], ramp: [3, 100] }, seed)).fastest).toBe(SHAPES[0][2]);
    },
  );

  it("says when it cannot tell, and is then seldom wrong, and never when it is sure", async () => {
    let wrong = 0,
      unsure = 0;
    for (const seed of SEEDS) {
      const { fastest, sure } = await choose(SHAPES[0], { held: [1, 12], bursts: 200 }, seed);
      if (fastest !== SHAPES[0][2]) wrong++;
      if (!sure) unsure++;
      else expect(fastest).toBe(SHAPES[0][2]);
    }
    expect(unsure).toBeGreaterThan(0);
    expect(wrong).toBeLessThanOrEqual(unsure / 2);
  });

  it("takes a tenth of a second in a quiet browser and is bounded in any other", async () => {
    const time = async (behaviour: Behaviour, times: readonly number[] = SHAPES[0]): Promise<number> =>
      Math.max(...(await Promise.all(SEEDS.map(async (seed) => (await choose(times, behaviour, seed)).gpu.now))));
    expect(await time({})).toBeLessThan(130);
    expect(await time({ held: [1, 20] })).toBeLessThan(1200);
    expect(await time({ jitter: 0.5 })).toBeLessThan(1200);
    expect(await time({}, [600, 400])).toBeLessThan(2100); // two runs of each
    expect(await time({ tick: 16.67 })).toBeLessThan(1600);
  });

  it("tells milliseconds of a launch, and every run of enough launches", async () => {
    const { ms, timed, gpu } = await choose(SHAPES[0], {}, 1);
    ms.forEach((each, i) => {
      expect(each).toBeGreaterThan(SHAPES[0][i]!);
      expect(each).toBeLessThan(1.1 * SHAPES[0][i]!);
      expect(timed[i]!.runs.length).toBe(4);
      expect(Math.min(...timed[i]!.runs)).toBe(each);
      expect(gpu.ran[i]![0]).toBe(1);
    });
  });
});
