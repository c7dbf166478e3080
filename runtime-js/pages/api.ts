// Answers the requests of `mlcweb serve --api` in this page: it reads a stream of them from the server (mlcweb/serve/
// relay.py), and posts the parts of its answers there.
import { Engine, type EngineInfo, type LoadOptions, MlcwebError } from "mlcweb";
import { createFetch } from "mlcweb/openai";

type Part = { status: number; type: string; allow: string | null } | { text: string } | { end: true };
type Task = { id: number; method: string; path: string; body: string | null } | { abort: number };

const MOST_PARTS = 64; // that wait for the post before

const engines: Record<string, Engine> = {};

/** Loads a bundle beside those before. */
export async function addModel(url: string, options: LoadOptions): Promise<EngineInfo> {
  const engine = await Engine.load(url, options);
  const { info } = engine;
  if (Object.hasOwn(engines, info.name)) {
    await engine.unload();
    throw new MlcwebError("invalid-request", `Two bundles are named ${info.name}.`, "Serve one of them.");
  }
  engines[info.name] = engine;
  return info;
}

/** Answers with the loaded models, until the server ends the stream. */
export async function serveApi(relay: string): Promise<void> {
  const base = new URL("/v1", location.href).href;
  const answer = createFetch(engines, { baseURL: base, maxBodyBytes: Infinity }); // the server has its own limit
  const running = new Map<number, AbortController>();
  const { body } = await fetch(`${relay}work`);
  for await (const line of lines(body!)) {
    if (line === "") continue;
    const task = JSON.parse(line) as Task;
    if ("abort" in task) {
      running.get(task.abort)?.abort();
      continue;
    }
    const stop = new AbortController();
    running.set(task.id, stop);
    const { method, path, body } = task;
    const post = new Post(`${relay}${task.id}`, stop);
    void forward(answer(path, { method, body, signal: stop.signal }), post)
      .catch(() => stop.abort()) // who asked has gone
      .finally(() => running.delete(task.id));
  }
  for (const stop of running.values()) stop.abort();
}

async function forward(answering: Promise<Response>, post: Post): Promise<void> {
  const { status, headers, body } = await answering;
  await post.add({ status, type: headers.get("content-type") ?? "text/plain", allow: headers.get("allow") });
  const reader = body?.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, BufferSource>).getReader();
  for (let next = await reader?.read(); next && !next.done; next = await reader?.read())
    await post.add({ text: next.value });
  await post.add({ end: true });
  await post.done();
}

/** Sends an answer's parts in order; those that come while a post is under way go with the next. */
class Post {
  private parts: Part[] = [];
  private sending: Promise<void> | undefined;

  constructor(
    private readonly url: string,
    private readonly stop: AbortController,
  ) {}

  /** Waits where the server, whose reader is slow, takes no more. */
  async add(part: Part): Promise<void> {
    this.parts.push(part);
    this.sending ??= this.send();
    if (this.parts.length >= MOST_PARTS) await this.sending;
  }

  async done(): Promise<void> {
    await this.sending;
  }

  private async send(): Promise<void> {
    try {
      while (this.parts.length > 0 && !this.stop.signal.aborted) {
        const body = this.parts.splice(0).map((part) => JSON.stringify(part));
        const { ok } = await fetch(this.url, { method: "POST", body: body.join("\n"), signal: this.stop.signal });
        if (!ok) this.stop.abort(); // the server has forgotten who asked
      }
    } catch {
      this.stop.abort();
    } finally {
      this.sending = undefined;
    }
  }
}

async function* lines(bytes: ReadableStream<Uint8Array>): AsyncGenerator<string, void, void> {
  const reader = bytes.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    const whole = (rest + next.value).split("\n");
    rest = whole.pop()!;
    yield* whole;
  }
}
