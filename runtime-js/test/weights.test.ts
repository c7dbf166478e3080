import { expect, it } from "vitest";
import { chunkRanges, streamWeights } from "../src/bundle/index.js";
import { manifest } from "./sample.js";

it("cuts tensors at chunk borders", () => {
  expect(chunkRanges(manifest(), ["a", "b", "c"])).toEqual([
    [{ tensor: "a", chunkOffset: 0, tensorOffset: 0, bytes: 64 }],
    [
      { tensor: "a", chunkOffset: 0, tensorOffset: 64, bytes: 16 },
      { tensor: "b", chunkOffset: 16, tensorOffset: 0, bytes: 6 },
      { tensor: "c", chunkOffset: 32, tensorOffset: 0, bytes: 32 },
    ],
    [{ tensor: "c", chunkOffset: 0, tensorOffset: 32, bytes: 32 }],
  ]);
});

it("fetches only the chunks that hold wanted tensors, and writes every byte once", async () => {
  const m = manifest();
  const read: string[] = [];
  const written = new Map<string, number[]>();
  const source = {
    async read(_: unknown, name: string, target: Uint8Array<ArrayBuffer>) {
      read.push(name);
      const base = Number(name[1]) * 64;
      for (let i = 0; i < target.length; i++) target[i] = base + i;
      return target;
    },
  };
  const sink = {
    write(tensor: string, offset: number, bytes: Uint8Array) {
      const all = written.get(tensor) ?? [];
      for (const [i, byte] of bytes.entries()) all[offset + i] = byte;
      written.set(tensor, all);
    },
    ready: async () => {},
    flushed: async () => {},
  };
  await streamWeights(source, m, ["c"], sink);
  expect(read.sort()).toEqual(["w1.00000000.bin", "w2.00000000.bin"]);
  expect(written.get("c")).toEqual(Array.from({ length: 64 }, (_, i) => 96 + i));
});

it("a failure stops the other downloads and is the error that is thrown", async () => {
  const controller = new AbortController();
  const source = {
    read: (_: unknown, name: string) =>
      name === "w0.00000000.bin"
        ? Promise.reject(new Error("first"))
        : new Promise<never>((__, reject) =>
            controller.signal.addEventListener("abort", () => reject(new Error("stopped"))),
          ),
  };
  const sink = {
    ready: async () => {},
    write: () => {
      throw new Error("nothing to write");
    },
    flushed: async () => {},
  };
  await expect(streamWeights(source, manifest(), ["a", "c"], sink, controller)).rejects.toThrow("first");
});

it("fetches while the sink is not ready, and writes when it is", async () => {
  let open!: () => void,
    written = 0;
  const opened = new Promise<void>((resolve) => {
      open = resolve;
    }),
    read: string[] = [];
  const source = {
    read: async (_: unknown, name: string, target: Uint8Array<ArrayBuffer>) => {
      read.push(name);
      return target;
    },
  };
  const done = streamWeights(source, manifest(), ["a", "c"], {
    ready: () => opened,
    write: () => {
      written++;
    },
    flushed: async () => {},
  });
  await new Promise((resolve) => setTimeout(resolve));
  expect([read.length, written]).toEqual([3, 0]);
  open();
  await done;
  expect(written).toBe(4);
});
