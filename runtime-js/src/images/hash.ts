// Hashes bytes: what is the same has the same name.

/** SHA-256 of the bytes' own hashes, in hexadecimal. */
export async function hashOf(parts: readonly Uint8Array[]): Promise<string> {
  const each = await Promise.all(parts.map(sha256));
  const all = new Uint8Array(each.length * 32);
  each.forEach((hash, i) => {
    all.set(hash, i * 32);
  });
  return [...(await sha256(all))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

const sha256 = async (bytes: Uint8Array): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as BufferSource));
