import { afterEach, describe, expect, it, vi } from "vitest";
import { resolveBundleUrl } from "../src/bundle/index.js";
import { BundleError } from "../src/errors.js";

afterEach(() => {
  vi.unstubAllGlobals();
});

describe("a bundle's URL", () => {
  it("is the folder's or the manifest's, with or without a query", () => {
    for (const url of [
      "https://x.test/m",
      "https://x.test/m/",
      "https://x.test/m/mlcweb.json",
      "https://x.test/m/#a",
    ]) {
      expect(resolveBundleUrl(url)).toEqual({ base: "https://x.test/m/", query: "" });
    }
    for (const url of ["https://x.test/m?v=1", "https://x.test/m/mlcweb.json?v=1#a"])
      expect(resolveBundleUrl(url)).toEqual({ base: "https://x.test/m/", query: "?v=1" });
  });

  it("is relative to the document's base, as what it fetches is, and in a worker to the worker's", () => {
    vi.stubGlobal("location", { href: "https://x.test/js/worker.js" });
    expect(resolveBundleUrl("./m").base).toBe("https://x.test/js/m/");
    vi.stubGlobal("document", { baseURI: "https://cdn.test/app/" });
    expect(resolveBundleUrl("../m?x=1")).toEqual({ base: "https://cdn.test/m/", query: "?x=1" });
  });

  it.each([
    "blob:https://x.test/0b9e2c1e-7c8a-4f6e-8f5d-0123456789ab",
    "data:text/javascript,1",
    "about:blank",
    "about:srcdoc",
  ])("cannot be relative at %s: that says what to give", (href) => {
    vi.stubGlobal("location", { href });
    for (const url of ["./m/", "m", "/m/", "//x.test/m"]) {
      const error = catching(() => resolveBundleUrl(url));
      expect(error).toMatchObject({
        code: "bundle",
        message: `"${url}" is relative, and where this runs, a ${href.split(":")[0]}: URL, is no folder.`,
      });
      expect(error.hint).toMatch(/^Give an absolute URL/);
    }
    expect(resolveBundleUrl("https://x.test/m").base).toBe("https://x.test/m/");
  });

  it.each(["data:application/json,{}", "about:blank", "blob:https://x.test/0b9e2c1e", "javascript:1"])(
    "is a folder's: not %s",
    (url) => {
      expect(catching(() => resolveBundleUrl(url)).message).toMatch(/^A \w+: URL is no folder\.$/);
    },
  );

  it("has no password, which browsers refuse to fetch with, and tells none", () => {
    const error = catching(() => resolveBundleUrl("https://me:secret@x.test/m"));
    expect(error.message + error.hint).not.toContain("secret");
    expect(error.hint).toContain("fetch");
  });

  it("is a URL", () => {
    vi.stubGlobal("location", { href: "https://x.test/" });
    expect(catching(() => resolveBundleUrl("http://")).message).toBe('"http://" is not a URL.');
  });
});

function catching(run: () => unknown): BundleError {
  try {
    run();
  } catch (error) {
    if (error instanceof BundleError) return error;
  }
  throw new Error("not refused");
}
