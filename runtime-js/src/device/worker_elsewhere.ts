// Starts a worker of an engine that lies on another origin than the page.

/** A worker's script must be of the page's origin; what it imports need not. A policy's worker-src is for what it
 * imports statically too, and a page may have no more than `blob:` there. The script's URL is let go of with the first
 * message. */
export function workerElsewhere(url: URL, options: WorkerOptions): Worker {
  const text = `import(${JSON.stringify(url.href)}).catch((error) => setTimeout(() => { throw error; }));`;
  const script = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  const worker = new Worker(script, options);
  worker.addEventListener("message", () => URL.revokeObjectURL(script), { once: true });
  return worker;
}
