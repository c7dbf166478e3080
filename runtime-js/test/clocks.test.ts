// A page's clock may be set back, or leap by a day, as after a sleep: nothing hangs, and nothing is given up for it.
import { afterEach, describe, expect, it, vi } from "vitest";
import { RequestClock } from "../src/chat/usage.js";
import { CachedTokens, generateTokens } from "../src/decode/index.js";
import { Held } from "../src/engine/held.js";
import { type LoadProgress, Progress } from "../src/engine/progress.js";
import { DeviceLostError } from "../src/errors.js";
import { clockTick, timeInTurn } from "../src/plan/measure.js";
import { Link } from "../src/worker/link.js";
import { loadedOf } from "./fake_engine.js";
import { argmax, FakeModel, FREE, params, sum } from "./fake_model.js";

const DAY = 86_400_000;
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

/** The page's clock, which `jump` moves. */
function clock(): { jump: (ms: number) => void } {
  const now = performance.now.bind(performance);
  let moved = 0;
  vi.spyOn(performance, "now").mockImplementation(() => now() + moved);
  return {
    jump: (ms) => {
      moved += ms;
    },
  };
}

describe.each([
  ["set back by a day", -DAY],
  ["a day later", DAY],
])("a clock %s", (_, by) => {
  it.each(["GPU", "constraint"])("changes no token of an answer (%s)", async (kind) => {
    const { jump } = clock();
    const more = kind === "GPU" ? {} : { constraint: FREE };
    const answer = async (jumps: boolean): Promise<number[]> => {
      const tokens: number[] = [];
      const asked = params({ maxTokens: 12, depth: 8, ...more });
      for await (const { token } of generateTokens(new FakeModel(sum), new CachedTokens(), argmax, [3, 1], asked)) {
        tokens.push(token);
        if (jumps && tokens.length % 3 === 0) jump(by);
      }
      return tokens;
    };
    expect(await answer(true)).toEqual(await answer(false));
  });

  it("does not stop the reports of a load, nor makes them wrong", () => {
    let now = 1000;
    const reports: LoadProgress[] = [];
    const progress = new Progress(
      (report) => reports.push(report),
      () => now,
    );
    progress.expect(100);
    for (let i = 0; i < 10; i++) {
      now += 100;
      if (i === 5) now += by;
      progress.bytes(5);
    }
    expect(reports).toHaveLength(10);
    for (const { bytesPerSecond = 0, secondsLeft = 0 } of reports) {
      expect(bytesPerSecond).toBeGreaterThanOrEqual(0);
      expect(secondsLeft).toBeGreaterThanOrEqual(0);
    }
    expect(reports.at(-1)!.bytesPerSecond).toBeGreaterThan(0);
  });

  it("does not make a slow kernel the fastest", async () => {
    let runs = 0;
    const contender = (ms: number) => async (launches: number) => ms * launches + (++runs === 4 ? by : 0);
    const { times } = await timeInTurn([contender(1), contender(3)]);
    expect(times[0]!.ms).toBe(1);
    expect(times[1]!.ms).toBe(3);
  });

  it("counts no seconds below none", () => {
    const { jump } = clock();
    const counted = new RequestClock();
    jump(by);
    expect(counted.facts(3).e2e_latency_s).toBeGreaterThanOrEqual(0);
  });

  it("lets a device that was lost before be lost again", async () => {
    const { jump } = clock();
    const load = () => loadedOf(new FakeModel(sum)).loaded;
    const held = new Held(load(), { close() {}, fail() {} });
    held.recoverBy(async () => load(), undefined);
    const lose = () => held.running().recover(new DeviceLostError("reset"), () => "recovered");
    for (let i = 0; i < 6; i++) {
      expect(await lose()).toBe("recovered");
      if (i % 2) jump(by);
    }
    await lose();
    await lose();
    await expect(lose()).rejects.toMatchObject({ code: "device-lost" });
  });

  it.each([true, false])("tells a worker that answers from one that is gone (answers: %s)", async (answers) => {
    vi.useFakeTimers({ toFake: ["setTimeout", "setInterval", "clearInterval", "clearTimeout"] });
    const { jump } = clock();
    let hear = (_: unknown): void => {};
    const gone: string[] = [];
    const wire = {
      listen: (heard: typeof hear) => {
        hear = heard;
      },
      post: ({ kind }: { kind: string }) => {
        if (kind === "hello") queueMicrotask(() => hear({ kind: "welcome" }));
        if (kind === "ping" && answers) setTimeout(() => hear({ kind: "pong" }), 1);
      },
      close() {},
    };
    const events = { hear() {}, waiting: () => true, gone: ({ message }: Error) => void gone.push(message) };
    await Link.open(wire as never, "engine", events, { pingMs: 50, silentMs: 200 });
    for (let i = 0; i < 20; i++) {
      if (i === 2) jump(by);
      jump(50);
      await vi.advanceTimersByTimeAsync(50);
    }
    expect(gone).toHaveLength(answers ? 0 : 1);
  });
});

it("the tick of a clock is none below 0", () => {
  let now = 5;
  let asked = 0;
  vi.spyOn(performance, "now").mockImplementation(() => {
    now += ++asked === 7 ? -1000 : asked % 5 ? 0 : 2;
    return now;
  });
  expect(clockTick()).toBe(2);
});
