// Cuts kernels.<tier>.wgsl at its `//// kernel <name>` lines into one shader module a kernel.
import { BundleError } from "../errors.js";

const MARK = "//// kernel ";

export function splitKernels(source: string): Map<string, string> {
  const kernels = new Map<string, string>();
  for (const part of `\n${source}`.split(`\n${MARK}`).slice(1)) {
    const end = part.indexOf("\n");
    const name = (end < 0 ? part : part.slice(0, end)).trim();
    if (kernels.has(name)) throw new BundleError(`The kernels file has two kernels named ${name}.`);
    kernels.set(name, end < 0 ? "" : part.slice(end + 1));
  }
  return kernels;
}
