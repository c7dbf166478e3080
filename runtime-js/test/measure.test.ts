import { describe, expect, it } from "vitest";
import { compare, heaviestLaunch } from "../src/plan/index.js";

const buffers = [
  { name: "x", kind: "scratch" as const, bytes: 1 << 30 },
  { name: "head", kind: "weight" as const, bytes: 500 },
  ...[0, 1, 2].map((i) => ({ name: `up.${i}`, kind: "weight" as const, bytes: 200 })),
];

it("an entry stands or falls with the kernel that reads the most weights in all its launches", () => {
  const launches = [{ kernel: 4, args: [0] }, ...[2, 3, 4].map((arg) => ({ kernel: 7, args: [arg, 0] })), { kernel: 9, args: [1, 0] }];
  expect(heaviestLaunch({ buffers }, { launches })).toBe(1);
  expect(heaviestLaunch({ buffers }, { launches: launches.slice(3) })).toBe(1);
});

describe("comparing", () => {
  /** Launches of `each` ms after a submission of `submit` ms, told by a clock that ticks every `tick` ms; counts what was run. */
  const gpu = (each: number, { submit = 0.1, tick = 0.005 } = {}) => {
    const ran: number[] = [];
    let now = 0;
    const run = async (launches: number): Promise<number> => {
      const start = now;
      ran.push(launches);
      now += submit + each * launches;
      return Math.floor(now / tick) * tick - Math.floor(start / tick) * tick;
    };
    return { run, ran };
  };
  it.each([0.005, 1, 2])("finds the faster one by a clock that ticks every %d ms", async (tick) => {
    for (const [slow, fast] of [[0.08, 0.04], [0.6, 0.3], [3, 1.8], [40, 20]] as const) {
      const [a, b] = await compare([gpu(slow, { tick }).run, gpu(fast, { tick }).run]);
      expect(a).toBeGreaterThan(b!);
      expect(b!).toBeGreaterThan(0.5 * fast);
      expect(a!).toBeLessThan(2 * slow + 0.1);
    }
  });
  it("takes some twenty milliseconds each way, and a single launch where that is slow", async () => {
    for (const each of [0.01, 0.3, 3]) {
      const { run, ran } = gpu(each);
      await compare([run]);
      expect(ran.reduce((sum, count) => sum + 0.1 + each * count, 0)).toBeLessThan(40);
    }
    const slow = gpu(60);
    await compare([slow.run]);
    expect(slow.ran).toEqual([1]);
  });
});
