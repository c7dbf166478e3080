// Checks bytes against a hash as HTML's integrity attribute writes it.
import { IntegrityError, InvalidRequestError } from "../index.js";
import type { SRIString } from "./types/config.js";

const ALGORITHMS: Readonly<Record<string, readonly [name: string, characters: number]>> = {
  sha256: ["SHA-256", 44],
  sha384: ["SHA-384", 64],
  sha512: ["SHA-512", 88],
};

/** Whether a text is such a hash: its algorithm's name, and the hash in base64. */
export function isValidSRI(sri: string): boolean {
  return parsed(sri) !== undefined;
}

/** Throws IntegrityError for other bytes, or warns where `onFailure` says so. */
export async function verifyIntegrity(
  data: ArrayBuffer,
  expectedSRI: SRIString,
  url: string,
  onFailure: "error" | "warn" = "error",
): Promise<void> {
  const hash = parsed(expectedSRI);
  if (!hash) throw new InvalidRequestError("integrity", `${JSON.stringify(expectedSRI)} is no hash like sha256-….`);
  const digest = new Uint8Array(await crypto.subtle.digest(hash.algorithm, data));
  const actual = `${expectedSRI.slice(0, 6)}-${btoa(String.fromCharCode(...digest))}`;
  if (actual === expectedSRI) return;
  const message = `${url} has the hash ${actual}, not ${expectedSRI}.`;
  if (onFailure === "warn") console.warn(`mlcweb: ${message}`);
  else throw new IntegrityError(url, message, undefined, { url, expected: expectedSRI, actual });
}

function parsed(sri: unknown): { readonly algorithm: string } | undefined {
  const [, name, base64] = /^(sha256|sha384|sha512)-([A-Za-z0-9+/]+={0,2})$/.exec(String(sri)) ?? [];
  const [algorithm, characters] = ALGORITHMS[name ?? ""] ?? [];
  return algorithm !== undefined && base64!.length === characters ? { algorithm } : undefined;
}
