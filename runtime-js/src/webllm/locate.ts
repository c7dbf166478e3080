// Finds where the bundle of a model's id is: by its record, by the folder of the bundles, or as a URL of its own.
import { modelNotFound } from "./errors.js";
import type { AppConfig, ModelRecord } from "./types/config.js";

/** Where a model's bundle is, and what its id asks for. WebLLM's ids end in `-MLC`, which no bundle's name has, and in
 * `-MLC-1k` for the same weights with 1024 tokens of context, or `-MLC-b32` for 32 texts of an embedding model at a
 * time; here a call has as many as fit. */
export function locate(modelId: string, baseUrl: string | undefined): { url: string; contextLength?: number } {
  const [path, query] = split(modelId);
  if (path.includes("/")) {
    const relative = baseUrl !== undefined && !/^([a-z]+:)?\/\//i.test(modelId);
    return { url: relative ? join(baseUrl, path, query) : modelId };
  }
  const [, name = path, short] = /^(.*)-MLC(?:(-1k)|-b\d+)?$/.exec(path) ?? [];
  const url = baseUrl === undefined ? name + query : join(baseUrl, name, query);
  return short === undefined ? { url } : { url, contextLength: 1024 };
}

export interface Located {
  /** Absolute, where the page has a folder. */
  readonly url: string;
  readonly contextLength?: number;
  readonly record?: ModelRecord;
}

/** The place of bundles, fixed when it is made: a page that changes its route moves nothing. */
export class Place {
  private readonly here = typeof document === "undefined" ? globalThis.location?.href : document.baseURI;
  private readonly given: string | undefined;

  constructor(baseUrl: string | undefined) {
    this.given = baseUrl && this.absolute(baseUrl);
  }

  /** The folder of bundles; absolute, where the page has one. */
  get base(): string | undefined {
    return this.given ?? (URL.canParse(".", this.here) ? new URL(".", this.here).href : undefined);
  }

  /** Throws ModelNotFoundError for an id that `apps` own list lacks; without a list of its own, any bundle's name is
   * one. */
  find(id: string, { model_list: list }: AppConfig, own: boolean): Located {
    const record = list.find(({ model_id: one }) => one === id);
    if (!record) {
      if (own && !split(id)[0].includes("/")) throw modelNotFound(id);
      const { url, ...asked } = locate(id, this.given);
      return { url: this.absolute(url), ...asked };
    }
    const url = onHub(record.model);
    const [path, query] = split(url);
    const relative = this.given !== undefined && !/^([a-z]+:)?\/\//i.test(url);
    return { url: this.absolute(relative ? join(this.given!, path, query) : url), record };
  }

  absolute(url: string): string {
    return URL.canParse(url, this.here) ? new URL(url, this.here).href : url;
  }
}

/** A repository's page on the Hugging Face hub stands for the files of its main branch. */
function onHub(url: string): string {
  const [, repository, query = ""] = /^(https:\/\/huggingface\.co\/[^/]+\/[^/?#]+)\/?(\?[^#]*)?$/i.exec(url) ?? [];
  return repository === undefined ? url : `${repository}/resolve/main/${query}`;
}

/** The part of a URL before its query, and the query. The fragment is dropped. */
function split(url: string): [path: string, query: string] {
  const [, path, query] = /^([^?#]*)(\?[^#]*)?/.exec(url)!;
  return [path!, query ?? ""];
}

/** A folder in another, with the queries of both. */
function join(base: string, name: string, query: string): string {
  const [path, own] = split(base);
  return `${path.replace(/\/?$/, "/")}${name}${own && query ? `${own}&${query.slice(1)}` : own || query}`;
}
