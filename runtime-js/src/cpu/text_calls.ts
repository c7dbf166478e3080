// Computes calls of whole texts on the CPU, for a model of embeddings or scores.
import type { TextCalls, TextOutput, TextWords } from "../embed/calls.js";
import { WorkerError } from "../errors.js";
import type { Link } from "./link.js";

export class CpuTextCalls implements TextCalls {
  constructor(private readonly link: Pick<Link, "call" | "check">) {}

  start(words: TextWords, output: TextOutput): Promise<Float32Array> {
    this.link.check();
    return this.link.call("texts", [words, output]);
  }

  async land(started: Promise<Float32Array>): Promise<Float32Array> {
    const numbers = await started;
    if (!numbers.every(Number.isFinite)) throw new WorkerError("The CPU's kernels computed a number that is none.");
    return numbers;
  }
}
