import { describe, expect, it } from "vitest";
import { chained, openTimer, type Timer } from "../src/profile/timer.js";

Object.assign(globalThis, {
  GPUBufferUsage: { MAP_READ: 1, COPY_SRC: 4, COPY_DST: 8, QUERY_RESOLVE: 512 },
  GPUMapMode: { READ: 1 },
});

/** A device whose clock goes on by 1234 ns at each stamp, and shows it rounded down. */
function stampingDevice(rounding: bigint, features = ["timestamp-query"]): GPUDevice {
  let now = 5_000_001n;
  let stamps: bigint[] = [];
  const buffer = {
    mapAsync: async () => {},
    getMappedRange: (_: number, bytes: number) => BigUint64Array.from(stamps).buffer.slice(0, bytes),
    unmap() {},
    destroy() {},
  };
  const encoder = {
    beginComputePass(descriptor?: unknown) {
      const writeTimestamp = (): void => {
        now += 1234n;
        stamps.push((now / rounding) * rounding);
      };
      if (descriptor) {
        writeTimestamp();
        writeTimestamp();
      }
      return { end() {}, writeTimestamp };
    },
    resolveQuerySet() {},
    copyBufferToBuffer() {},
    finish() {},
  };
  return {
    features: new Set(features),
    queue: { submit() {}, onSubmittedWorkDone: async () => {} },
    createQuerySet: () => buffer,
    createBuffer: () => buffer,
    createCommandEncoder: () => {
      stamps = [];
      return encoder;
    },
  } as unknown as GPUDevice;
}

describe("the timer", () => {
  it("takes timestamps where there are some, in as many submissions as it needs", async () => {
    const timer = await openTimer(stampingDevice(1n));
    expect([timer.kind, timer.shortest]).toEqual(["timestamps", 0]);
    const spans = await timer.measure(Array.from({ length: 5000 }, () => () => {}));
    expect(spans).toHaveLength(5000);
    expect(new Set(spans)).toEqual(new Set([1.234]));
  });
  it.each([65_536n, 100_000n])("wants longer passes when timestamps are rounded to %s ns", async (rounding) => {
    expect((await openTimer(stampingDevice(rounding))).shortest).toBeGreaterThan(1000);
  });
  it.each([
    ["passes", []],
    ["stamps", ["chromium-experimental-timestamp-query-inside-passes"]],
  ])("tells launches apart by %s", async (source, more) => {
    const timer = await openTimer(stampingDevice(1n, ["timestamp-query", ...more]));
    expect(await timer.inOrder([() => {}, () => {}, () => {}])).toEqual({
      source,
      microseconds: [1.234, 1.234, 1.234],
    });
  });
  it("does not pretend to tell launches apart", async () => {
    expect(await (await openTimer(stampingDevice(65_536n))).inOrder([() => {}])).toBeUndefined();
    expect(await (await openTimer(stampingDevice(1n, []))).inOrder([() => {}])).toBeUndefined();
  });
  it("takes the clock where there are none, or when told to", async () => {
    expect((await openTimer(stampingDevice(1n, []))).kind).toBe("wall");
    expect((await openTimer(stampingDevice(1n), "wall")).kind).toBe("wall");
  });
});

describe("a chain", () => {
  const asked: number[] = [];
  const run = async (us: number, shortest: number, options: Parameters<typeof chained>[2]): Promise<number> => {
    asked.length = 0;
    let launches = 0;
    const timer = {
      kind: "wall",
      shortest,
      destroy() {},
      async measure([encode]: [(pass: never) => void]) {
        encode(undefined as never);
        return [launches * us];
      },
    } as unknown as Timer;
    return chained(
      timer,
      (_, count) => {
        launches = count;
        asked.push(count);
      },
      options,
    );
  };
  it("is of whole rounds over the layers, 48 launches at least", async () => {
    expect(await run(3, 0, { repeats: 5, rounds: 30 })).toBe(3);
    expect(asked.filter((count) => count === 60)).toHaveLength(6); // once while looking for the count
    expect(Math.max(...asked)).toBe(60);
  });
  it("is longer where short passes cannot be told from noise", async () => {
    expect(await run(2, 20_000, { repeats: 3 })).toBe(2);
    expect(asked.at(-1)! * 2).toBeGreaterThanOrEqual(20_000);
  });
  it("is short, and repeated little, where a launch is slow", async () => {
    expect(await run(400_000, 0, { repeats: 20 })).toBe(400_000);
    expect(Math.max(...asked)).toBe(1);
    expect(asked.length).toBeLessThanOrEqual(4);
  });
});
