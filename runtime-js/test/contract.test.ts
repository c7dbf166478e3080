// Every case of tests/contract, which the compiler's tests run too.
import { describe, expect, it } from "vitest";
import { parseManifest } from "../src/bundle/index.js";
import { catalogDocument } from "../src/contract/catalog.js";
import { checkTextManifest } from "../src/embed/check.js";
import { parseValidation } from "../src/engine/validate.js";
import { BundleError } from "../src/errors.js";
import { parsePlan } from "../src/plan/index.js";
import { CASES, type Document, GOOD, made } from "./contract_cases.js";

const manifest = parseManifest(JSON.stringify(GOOD.manifest));
const READERS: Readonly<Record<Document, (source: string) => unknown>> = {
  manifest: (source) => {
    const parsed = parseManifest(source);
    if (parsed.embedding ?? parsed.reranking) checkTextManifest(parsed);
  },
  plan: (source) => parsePlan(source, manifest, "base"),
  catalog: catalogDocument,
  validation: (source) => parseValidation(JSON.parse(source), manifest.model.vocab_size),
};

/** The field that an error names; "" is the document itself. */
function fieldOf(message: string, document: Document): string {
  const field = /^The (?:bundle|catalog) is not valid: (.*?): /s.exec(message)?.[1] ?? "";
  if (document === "catalog") return field === "catalog.json" ? "" : field;
  if (document === "manifest") return field === "mlcweb.json" ? "" : field;
  return field === document ? "" : field.replace(/^plan\./, "");
}

describe.each(Object.keys(READERS) as Document[])("a bundle's %s", (document) => {
  it.each(CASES[document].map((one) => [one.name, one] as const))("with %s", { timeout: 60_000 }, (_, one) => {
    const source = made(document, one);
    if (one.accepted) {
      READERS[document](source);
      return;
    }
    let error: unknown;
    try {
      READERS[document](source);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(BundleError);
    expect(fieldOf((error as Error).message, document)).toBe(one.field);
  });
});
