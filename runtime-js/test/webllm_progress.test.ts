// Tests that a load's progress is worded as apps of WebLLM read it.
import { expect, it } from "vitest";
import { finished, reportOf } from "../src/webllm/progress.js";

const MIB = 2 ** 20;
const weights = { stage: "weights" as const, text: "", loadedBytes: 30 * MIB, totalBytes: 100 * MIB, fraction: 0.285 };

it("names chunks, bytes, the share and the time", () => {
  const { progress, timeElapsed, text } = reportOf(weights, false, 2.5);
  expect([progress, timeElapsed]).toEqual([0.285, 2.5]);
  expect(text).toMatch(/^Fetching param cache\[1\/5\]: 30MB fetched\. 30% completed, 3 secs elapsed\./);
  expect(reportOf(weights, true, 0).text).toBe(
    "Loading model from cache[1/5]: 30MB loaded. 30% completed, 0 secs elapsed.",
  );
});

it("never names more chunks than there are", () => {
  const small = { ...weights, loadedBytes: 5 * MIB, totalBytes: 5 * MIB };
  expect(reportOf(small, false, 1).text).toContain("[1/1]: 5MB fetched. 100% completed");
  expect(reportOf({ ...weights, loadedBytes: 0, totalBytes: 0 }, false, 0).text).toContain("[0/0]: 0MB fetched. 0%");
});

it("counts pipelines, and ends with the GPU's name", () => {
  const kernels = { ...weights, stage: "kernels" as const, pipelines: { done: 3, total: 12 } };
  expect(reportOf(kernels, false, 4).text).toBe("Loading GPU shader modules[3/12]: 25% completed, 4 secs elapsed.");
  expect(reportOf({ ...weights, stage: "manifest" }, false, 0).text).toBe("Start to fetch params");
  expect(finished({ vendor: "nvidia" }, 9)).toEqual({
    progress: 1,
    timeElapsed: 9,
    text: "Finish loading on WebGPU - nvidia",
  });
  expect(finished({}, 9).text).toBe("Finish loading on WebGPU");
});
