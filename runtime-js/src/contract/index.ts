// Exports what the compiler and the engine agree on. `make contract` writes `generated` from mlcweb/contract/source.
import { BundleError } from "../errors.js";
import { FORMAT, VERSION } from "./generated/constants.js";
import type { ManifestDocument, PlanDocument, ValidationDocument } from "./generated/documents.js";
import manifestSchema from "./generated/manifest.schema.json";
import planSchema from "./generated/plan.schema.json";
import validationSchema from "./generated/validation.schema.json";
import { checked, type Schema } from "./schema.js";

export * from "./generated/constants.js";
export type * from "./generated/documents.js";
export { check } from "./schema.js";

/** mlcweb.json as its schema accepts it. Throws BundleError that names the field. */
export function manifestDocument(source: string): ManifestDocument {
  const json = parsed(
    source,
    "mlcweb.json",
    "Check that the URL is a bundle's folder, and that the host changes no bytes: `mlcweb check-host` tells.",
  );
  const { format, version } = (json ?? {}) as { format?: unknown; version?: unknown };
  if (format !== FORMAT) throw new BundleError("mlcweb.json is not the manifest of an mlcweb bundle.");
  if (version !== VERSION) {
    throw new BundleError(
      `The bundle has format version ${JSON.stringify(version)?.slice(0, 40)}; this engine reads version ${VERSION}.`,
      "Compile the bundle again, or use the engine that came with its compiler.",
    );
  }
  return checked(json, manifestSchema as Schema, "mlcweb.json");
}

/** A plan as its schema accepts it. Throws BundleError that names the field. */
export const planDocument = (source: string): PlanDocument =>
  checked(parsed(source, "The plan"), planSchema as Schema, "plan");

/** A validation as its schema accepts it. Throws BundleError that names the field. */
export const validationDocument = (json: unknown): ValidationDocument =>
  checked(json, validationSchema as Schema, "validation");

function parsed(source: string, document: string, hint?: string): unknown {
  try {
    return JSON.parse(source);
  } catch (cause) {
    const what = source.trimStart().startsWith("{")
      ? `is cut off or damaged: its ${source.length} characters are not whole JSON`
      : `is not JSON, but begins ${JSON.stringify(source.slice(0, 40))}`;
    throw new BundleError(`${document} ${what}.`, hint, { cause });
  }
}
