// Makes the function that stands in for `fetch`: it finds the request's path and model, and answers in OpenAI's shapes.
import type { ChatSource } from "../chat/source.js";
import type { EmbeddingRequest, RerankRequest } from "../embed/index.js";
import { answerFor, HttpFailure, refuse } from "./failures.js";
import { chatRequest, completionRequest, textsRequest } from "./requests.js";
import { chatChunkOf, chatOf, completionOf } from "./shapes.js";
import { eventStream } from "./sse.js";

/** One engine, several, or engines by the names that requests give them. */
export type Models = ChatSource | readonly ChatSource[] | Readonly<Record<string, ChatSource>>;

export interface FetchOptions {
  /** The address that is answered; by default `http://page/v1`, which no server has. */
  readonly baseURL?: string | undefined;
  /** What gets every other request, such as the page's `fetch`. Without it they are answered with 404, so that no
   * prompt leaves the page by a wrong address. */
  readonly elsewhere?: typeof fetch | undefined;
  /** The longest body of a request, in bytes; 16 MiB by default. */
  readonly maxBodyBytes?: number | undefined;
}

const PATHS = ["/chat/completions", "/completions", "/embeddings", "/rerank", "/models"];
const BASE_URL = "http://page/v1";
const MAX_BODY_BYTES = 16 << 20;

/** A `fetch` that answers /chat/completions, /completions, /embeddings, /rerank and /models below `baseURL` with the
 * engines. */
export function createFetch(models: Models, options: FetchOptions = {}): typeof fetch {
  const door = new Door(named(models), options);
  return (input, init) => door.fetch(input, init);
}

function named(models: Models): ReadonlyMap<string, ChatSource> {
  if (isSource(models)) return new Map([[models.info.name, models]]);
  if (Array.isArray(models)) return new Map(models.map((model: ChatSource) => [model.info.name, model]));
  return new Map(Object.entries(models as Readonly<Record<string, ChatSource>>));
}

const isSource = (models: Models): models is ChatSource =>
  typeof (models as ChatSource).info?.name === "string" && "chat" in models;

class Door {
  private readonly base: URL;
  private readonly elsewhere: typeof fetch | undefined;
  private readonly maxBodyBytes: number;
  private readonly created = Math.floor(Date.now() / 1000);

  constructor(
    private readonly models: ReadonlyMap<string, ChatSource>,
    options: FetchOptions,
  ) {
    this.base = absolute(options.baseURL ?? BASE_URL);
    this.elsewhere = options.elsewhere;
    this.maxBodyBytes = options.maxBodyBytes ?? MAX_BODY_BYTES;
  }

  async fetch(input: RequestInfo | URL, init: RequestInit | undefined): Promise<Response> {
    const path = this.path(absolute(input instanceof Request ? input.url : String(input)));
    if (path === undefined && this.elsewhere) return this.elsewhere.call(globalThis, input, init);
    const request = input instanceof Request ? new Request(input, init) : new Request(absolute(String(input)), init);
    request.signal.throwIfAborted();
    try {
      if (path === undefined)
        throw new HttpFailure(404, `Nothing is answered at ${request.url}: requests go below ${this.base.href}.`);
      return await this.answer(path, request);
    } catch (error) {
      request.signal.throwIfAborted(); // as fetch does: the error is the signal's own
      return answerFor(error);
    }
  }

  /** What follows the base in a URL; undefined for one that is not below it. */
  private path({ origin, pathname }: URL): string | undefined {
    const folder = this.base.pathname.replace(/\/+$/, "");
    if (origin !== this.base.origin || !pathname.startsWith(`${folder}/`)) return undefined;
    return pathname.slice(folder.length).replace(/(.)\/+$/, "$1");
  }

  private async answer(path: string, request: Request): Promise<Response> {
    if (path === "/models") {
      allow(request, "GET");
      return json({ object: "list", data: [...this.models.keys()].map((id) => this.describe(id)) });
    }
    if (path.startsWith("/models/")) {
      allow(request, "GET");
      const id = decoded(path.slice("/models/".length));
      this.find(id);
      return json(this.describe(id));
    }
    switch (path) {
      case "/chat/completions": {
        const body = await this.body(request);
        const asked = chatRequest(body, request.signal);
        return respond(request, this.find(body.model).chat.completions, asked, chatOf, chatChunkOf);
      }
      case "/completions": {
        const body = await this.body(request);
        const asked = completionRequest(body, request.signal);
        return respond(request, this.find(body.model).completions, asked, completionOf, completionOf);
      }
      case "/embeddings": {
        const body = await this.body(request);
        const { embeddings } = this.find(body.model);
        if (!embeddings) throw refuse("model", "makes no embeddings.");
        return json(await embeddings.create(textsRequest<EmbeddingRequest>(body, request.signal)));
      }
      case "/rerank": {
        const body = await this.body(request);
        const source = this.find(body.model);
        if (!source.rerank) throw refuse("model", "ranks no documents.");
        return json(await source.rerank(textsRequest<RerankRequest>(body, request.signal)));
      }
      default:
        throw new HttpFailure(404, `There is no ${path} here: only ${PATHS.join(", ")}.`);
    }
  }

  private async body(request: Request): Promise<Record<string, unknown>> {
    allow(request, "POST");
    const bytes = await request.arrayBuffer();
    if (bytes.byteLength > this.maxBodyBytes)
      throw new HttpFailure(413, `The body has ${bytes.byteLength} bytes; at most ${this.maxBodyBytes} are read.`);
    let body: unknown;
    try {
      body = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    } catch (error) {
      throw new HttpFailure(400, `The body is not JSON: ${(error as Error).message}`);
    }
    if (typeof body !== "object" || body === null || Array.isArray(body))
      throw new HttpFailure(400, "The body is not a JSON object.");
    return body as Record<string, unknown>;
  }

  private find(model: unknown): ChatSource {
    const only = this.models.size === 1 ? [...this.models.values()][0] : undefined;
    if (model == null && only) return only;
    if (typeof model !== "string") throw refuse("model", "must be a model's name.");
    const found = this.models.get(model);
    if (found) return found;
    const known = [...this.models.keys()].join(", ");
    throw new HttpFailure(404, `There is no model ${model}: there is ${known}.`, "model", "model_not_found");
  }

  private describe(id: string): { id: string; object: "model"; created: number; owned_by: string } {
    return { id, object: "model", created: this.created, owned_by: "mlcweb" };
  }
}

/** Relative URLs are the page's, where there is one. */
const absolute = (url: string): URL => new URL(url, globalThis.location?.href ?? BASE_URL);

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

function allow(request: Request, method: "GET" | "POST"): void {
  if (request.method === method || (request.method === "HEAD" && method === "GET")) return;
  throw new HttpFailure(405, `${request.method} is not answered here, only ${method}.`, null, null, { allow: method });
}

const json = (value: unknown): Response => Response.json(value);

async function respond<Asked extends { stream?: boolean | null }, Whole, Chunk>(
  { signal }: Request,
  api: { create(request: Asked): Promise<Whole | AsyncIterable<Chunk>> },
  asked: Asked,
  whole: (answer: Whole) => unknown,
  piece: (chunk: Chunk) => unknown,
): Promise<Response> {
  if (!asked.stream) return json(whole((await api.create(asked)) as Whole));
  const stop = new AbortController(); // the request's signal, or the body's end
  const chunks = (await api.create({ ...asked, signal: stop.signal })) as AsyncIterable<Chunk>;
  const headers = { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" };
  return new Response(eventStream(chunks, piece, signal, stop), { headers });
}
