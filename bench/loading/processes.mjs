// Reads what the browser's processes use, from Linux's /proc: processor time and memory.
import fs from "node:fs";

const TICKS = 100; // a second, on every Linux
const read = (path) => {
  try {
    return fs.readFileSync(path, "utf8");
  } catch {
    return ""; // it has ended
  }
};

/** The processes below this one that are Chromium's, with what each is for. */
function processes() {
  const parents = new Map();
  for (const name of fs.readdirSync("/proc"))
    if (/^\d+$/.test(name))
      parents.set(Number(name), Number(read(`/proc/${name}/stat`).split(") ").at(-1).split(" ")[1]));
  const below = (pid) => pid === process.pid || (parents.get(pid) > 1 && below(parents.get(pid)));
  return [...parents.keys()]
    .filter((pid) => pid !== process.pid && below(pid))
    .map((pid) => {
      const line = read(`/proc/${pid}/cmdline`);
      const type = /--type=([\w-]+)/.exec(line)?.[1] ?? "browser";
      return { pid, kind: /--utility-sub-type=(\w+)/.exec(line)?.[1] ?? type };
    });
}

const ticksOf = (stat) => {
  const fields = stat.split(") ").at(-1).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
};

/** Seconds of processor time so far by kind of process, and of the renderers' first threads, which run pages. */
export function processorTimes() {
  const times = { "page thread": 0 };
  for (const { pid, kind } of processes()) {
    times[kind] = (times[kind] ?? 0) + (ticksOf(read(`/proc/${pid}/stat`)) || 0);
    if (kind === "renderer") times["page thread"] += ticksOf(read(`/proc/${pid}/task/${pid}/stat`)) || 0;
  }
  return times;
}

/** Bytes of the largest renderer's own memory: JavaScript's and the browser's for it, without what is shared. */
export function pageMemory() {
  const of = ({ pid }) => Number(/RssAnon:\s+(\d+) kB/.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * 1024;
  return Math.max(
    0,
    ...processes()
      .filter(({ kind }) => kind === "renderer")
      .map(of),
  );
}
