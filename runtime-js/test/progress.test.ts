// A load reports bytes as they come, kernels once the bytes are there, and nothing after "ready".
import { expect, test } from "vitest";
import { type LoadProgress, Progress } from "../src/engine/progress.js";

function heard(): { events: LoadProgress[]; progress: Progress; pass: (ms: number) => void } {
  const events: LoadProgress[] = [];
  let now = 0;
  return {
    events,
    progress: new Progress(
      (event) => events.push(event),
      () => now,
    ),
    pass: (ms) => {
      now += ms;
    },
  };
}

test("stages follow one another, and fractions never fall", () => {
  const { events, progress, pass } = heard();
  progress.manifest();
  progress.expect(1000);
  for (let i = 0; i < 10; i++) {
    pass(100);
    progress.bytes(100);
  }
  for (let i = 1; i <= 4; i++) {
    pass(100);
    progress.kernel(i, 4);
  }
  progress.ready();
  const stages = events.map((event) => event.stage).filter((stage, i, all) => stage !== all[i - 1]);
  expect(stages).toEqual(["manifest", "weights", "kernels", "ready"]);
  events.forEach((event, i) => {
    if (i > 0) expect(event.fraction).toBeGreaterThanOrEqual(events[i - 1]!.fraction);
  });
  expect(events.at(-1)).toMatchObject({ stage: "ready", fraction: 1, loadedBytes: 1000, totalBytes: 1000 });
  expect(events.filter((event) => event.stage === "weights").at(-2)).toMatchObject({
    bytesPerSecond: 1000,
    secondsLeft: 0.1,
  });
});

test("what is fetched after the load is none of its progress", () => {
  const { events, progress, pass } = heard();
  progress.expect(10);
  progress.bytes(10);
  progress.ready();
  pass(1000);
  progress.bytes(1500);
  progress.kernel(1, 1);
  expect(events.at(-1)!.stage).toBe("ready");
});

test("what the self-check fetches is none of it", () => {
  const { events, progress, pass } = heard();
  progress.expect(10);
  progress.bytes(10);
  progress.kernel(2, 2);
  progress.check();
  expect(events.at(-1)).toMatchObject({ stage: "kernels", text: "Checking the results", loadedBytes: 10 });
  pass(1000);
  progress.bytes(1500);
  progress.ready();
  expect(events.at(-1)).toMatchObject({ stage: "ready", loadedBytes: 10, totalBytes: 10 });
});

test("at most twenty reports a second", () => {
  const { events, progress, pass } = heard();
  progress.expect(1_000_000);
  for (let i = 0; i < 1000; i++) {
    pass(1);
    progress.bytes(100);
  }
  expect(events.length).toBeLessThanOrEqual(20);
  expect(events.length).toBeGreaterThanOrEqual(10);
});
