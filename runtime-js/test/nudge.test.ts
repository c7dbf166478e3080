import { describe, expect, it } from "vitest";
import { nudgeUntil } from "../src/decode/nudge.js";

const queue = () => {
  const submitted: number[] = [];
  return { submitted, submit: (): undefined => void submitted.push(performance.now()) };
};
const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe("nudgeUntil", () => {
  it("submits nothing now and then until the promise is settled, and then no more", async () => {
    const { submitted, submit } = queue();
    expect(
      await nudgeUntil(
        { submit },
        after(4).then(() => 7),
      ),
    ).toBe(7);
    const count = submitted.length;
    expect(count).toBeGreaterThan(0);
    await after(20);
    expect(submitted).toHaveLength(count);
  });

  it("gives up where the wait is long", async () => {
    const { submitted, submit } = queue();
    const began = performance.now();
    await nudgeUntil({ submit }, after(60));
    expect(submitted.length).toBeLessThan(40);
    expect(submitted.at(-1)! - began).toBeLessThan(30);
  });

  it("passes a failure on, and stops", async () => {
    const { submitted, submit } = queue();
    await expect(
      nudgeUntil(
        { submit },
        after(2).then(() => Promise.reject(new Error("lost"))),
      ),
    ).rejects.toThrow("lost");
    const count = submitted.length;
    await after(20);
    expect(submitted).toHaveLength(count);
  });

  it("survives a queue that throws", async () => {
    const submit = (): undefined => {
      throw new Error("destroyed");
    };
    expect(
      await nudgeUntil(
        { submit },
        after(3).then(() => 1),
      ),
    ).toBe(1);
  });
});
