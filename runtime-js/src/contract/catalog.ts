// Reads catalog.json, the list of a publisher's models, as hostile input. `mlcweb publish` writes it.
import { BundleError } from "../errors.js";
import catalogSchema from "./generated/catalog.schema.json";
import { CATALOG_FORMAT, CATALOG_VERSION } from "./generated/constants.js";
import type { CatalogDocument, CatalogModel } from "./generated/documents.js";
import { type Fault, type Schema, schemaFault } from "./schema.js";

/** catalog.json as its schema and the format's rules accept it. Throws BundleError that names the field. */
export function catalogDocument(source: string): CatalogDocument {
  let json: unknown;
  try {
    json = JSON.parse(source);
  } catch (cause) {
    throw new BundleError("catalog.json is not JSON.", "Check that the URL is not a web page.", { cause });
  }
  const { format, version } = (json ?? {}) as { format?: unknown; version?: unknown };
  if (format === CATALOG_FORMAT && Number.isSafeInteger(version) && version !== CATALOG_VERSION) {
    throw new BundleError(
      `The catalog is not valid: version: this engine reads version ${CATALOG_VERSION}, not ${version}.`,
      "Use an engine that is as new as what wrote the catalog.",
    );
  }
  const fault = schemaFault(json, catalogSchema as Schema) ?? ruleFault((json as CatalogDocument).models);
  if (fault) throw new BundleError(`The catalog is not valid: ${fault[0] || "catalog.json"}: ${fault[1]}.`);
  return json as CatalogDocument;
}

/** What a schema cannot say. */
function ruleFault(models: readonly CatalogModel[]): Fault | undefined {
  const ids = new Set<string>();
  for (const [i, model] of models.entries()) {
    const at = `models[${i}]`;
    if (ids.size === ids.add(model.id).size) return [`${at}.id`, "occurs twice"];
    const { quality } = model;
    if (quality && quality.same_tokens > quality.tokens) return [`${at}.quality.same_tokens`, "exceeds tokens"];
    const tiers = new Set<string>();
    for (const [k, tier] of model.tiers.entries()) {
      if (tiers.size === tiers.add(tier.name).size) return [`${at}.tiers[${k}].name`, "occurs twice"];
      const bad = tier.memory.findIndex(
        ({ context }, j) => context > model.context_length || context <= (tier.memory[j - 1]?.context ?? 0),
      );
      if (bad >= 0) return [`${at}.tiers[${k}].memory[${bad}].context`, "is out of order or too long"];
    }
  }
  return undefined;
}
