// Splits a bundle's URL into its folder and its query, such as a signature or a token, with which its files are asked
// for.
import { BundleError } from "../errors.js";

/** `base` is the folder's absolute URL, which ends in a slash and names what is kept. `query` is empty or begins with a
 * question mark. */
export interface BundleUrl {
  readonly base: string;
  readonly query: string;
  /** The manifest's hash, which a catalog's entry tells, from the fragment `#sha256=…`. */
  readonly sha256: string | undefined;
}

const GIVE =
  'Give an absolute URL, such as new URL("./model/", document.baseURI).href, which the page can hand to a worker.';

/** Accepts the folder's or the manifest's URL, relative as `fetch` has it. */
export function resolveBundleUrl(url: string): BundleUrl {
  const here = typeof document === "undefined" ? globalThis.location?.href : document.baseURI;
  let absolute: URL;
  try {
    absolute = new URL(url, here);
  } catch (cause) {
    // It would do elsewhere: about:blank and data: have no folder, and neither has a worker made from a Blob.
    const relative = here !== undefined && URL.canParse(url, "https://host/");
    const why = relative ? `relative, and where this runs, a ${new URL(here).protocol} URL, is no folder` : "not a URL";
    throw new BundleError(`${JSON.stringify(url)} is ${why}.`, GIVE, { cause });
  }
  if (!absolute.pathname.startsWith("/")) throw new BundleError(`A ${absolute.protocol} URL is no folder.`, GIVE);
  if (absolute.username || absolute.password)
    throw new BundleError(
      "Browsers fetch no URL with a user or a password in it.",
      "Pass load a fetch that sends them in an Authorization header.",
    );
  const { search, hash } = absolute;
  absolute.hash = absolute.search = "";
  absolute.pathname = absolute.pathname.replace(/mlcweb\.json$/, "").replace(/\/?$/, "/");
  return { base: absolute.href, query: search, sha256: /^#sha256=([0-9a-f]{64})$/.exec(hash)?.[1] };
}
