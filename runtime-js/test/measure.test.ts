import { expect, it } from "vitest";
import { heaviestLaunch } from "../src/plan/index.js";

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
