// Fetches catalog.json, and keeps it: a page that knows its models by a catalog also starts without a network.
import { readWhole } from "../bundle/asking.js";
import { foreign } from "../bundle/came.js";
import { type FetchLike, Store, type Warning } from "../bundle/index.js";
import { checkStatus, retrying, Watchdog } from "../bundle/retry.js";
import { catalogDocument } from "../contract/catalog.js";
import { CATALOG_NAME, type CatalogModel, MAX_CATALOG_BYTES } from "../contract/index.js";
import { BundleError, NetworkError, throwIfAborted, WebPageError } from "../errors.js";

/** A server that says nothing for so long is asked again, or the kept catalog is used. */
const STALLED_MS = 10_000;

export interface ReadOptions {
  readonly fetch?: FetchLike | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onWarning?: ((warning: Warning) => void) | undefined;
  /** Keep the catalog in the Cache API; true by default. */
  readonly cache?: boolean | undefined;
  readonly backoffMs?: number | undefined;
}

export interface Catalog {
  readonly models: readonly CatalogModel[];
  /** The absolute URL of a model's bundle, with the catalog's own query. */
  urlOf(model: CatalogModel): string;
}

/** Reads the catalog at a URL: its folder's, or its own. Throws BundleError for one that is not valid. */
export async function readCatalog(url: string, options: ReadOptions = {}): Promise<Catalog> {
  const { signal, onWarning } = options;
  throwIfAborted(signal);
  const at = catalogUrl(url);
  const store = await Store.open(options.cache ?? true, () => {}); // where it is full, the catalog is not kept
  const key = at.href.slice(0, at.href.length - at.search.length);
  let text: string;
  try {
    text = await fetchText(at.href, options);
  } catch (error) {
    const kept = unreachable(error) ? await (await store.get(key))?.text() : undefined;
    if (kept === undefined) throw error;
    const { message } = error as Error;
    onWarning?.({ code: "offline", message: `The kept catalog is used: ${message}` });
    return catalog(kept, at);
  }
  const read = catalog(text, at);
  await store.put(key, new TextEncoder().encode(text));
  return read;
}

function catalog(text: string, at: URL): Catalog {
  const { models } = catalogDocument(text);
  return { models, urlOf: ({ url }) => new URL(url, at).href + at.search };
}

/** What is no defect of the catalog. */
const unreachable = (error: unknown): boolean => error instanceof NetworkError || error instanceof WebPageError;

function catalogUrl(url: string): URL {
  const here = typeof document === "undefined" ? globalThis.location?.href : document.baseURI;
  if (!URL.canParse(url, here))
    throw new BundleError(
      `${JSON.stringify(url)} is not the URL of a catalog.`,
      "Give the URL of its folder, or of its catalog.json.",
    );
  const at = new URL(url, here);
  at.hash = "";
  if (!at.pathname.endsWith(".json")) at.pathname = `${at.pathname.replace(/\/?$/, "/")}${CATALOG_NAME}`;
  return at;
}

async function fetchText(url: string, { fetch = globalThis.fetch, signal, backoffMs }: ReadOptions): Promise<string> {
  const attempt = async (): Promise<Uint8Array> => {
    const watch = new Watchdog(STALLED_MS, signal);
    try {
      const response = await fetch(url, { signal: watch.signal, cache: "no-cache" });
      checkStatus(CATALOG_NAME, response);
      const bytes = await readWhole(response, watch, CATALOG_NAME, MAX_CATALOG_BYTES);
      const wrong = foreign(CATALOG_NAME, response, bytes);
      if (wrong) throw wrong;
      return bytes;
    } finally {
      watch.stop();
    }
  };
  const bytes = await retrying(CATALOG_NAME, attempt, { signal, attempts: 2, backoffMs });
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new BundleError(`${CATALOG_NAME} is not UTF-8.`, "Publish the catalog again.", { cause });
  }
}
