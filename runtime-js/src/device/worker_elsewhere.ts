// Starts a worker of an engine that lies on another origin than the page.

/** undefined where the engine, whose module is at `base`, is of the page's own origin. A worker's script must be of
 * that origin; what it imports need not. A policy's worker-src is for what it imports statically too, and a page may
 * have no more than `blob:` there. The script's URL is let go of with the first message. The file is no literal beside
 * `import.meta.url`, or bundlers take it for a picture or the like, and write it into the page where it is small. */
export function workerElsewhere(file: string, base: string, options: WorkerOptions): Worker | undefined {
  const url = new URL(file, base);
  if (url.origin === globalThis.origin) return undefined;
  const text = `import(${JSON.stringify(url.href)}).catch((error) => setTimeout(() => { throw error; }));`;
  const script = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  const worker = new Worker(script, options);
  worker.addEventListener("message", () => URL.revokeObjectURL(script), { once: true });
  return worker;
}
