// Fetches a file in a carrier. Whatever goes wrong is left to the page, which asks again and says what it is.

const PIECE = 1 << 20;
const STALL_MS = 30_000;

/** Fills `target` from its start; returns how many bytes came before the connection broke. 0 is also what is no answer,
 * or a file of another length. */
export async function fetchInto(
  target: Uint8Array<ArrayBuffer>,
  url: string,
  cache: RequestCache | undefined,
  onBytes: (bytes: number) => void,
): Promise<number> {
  const controller = new AbortController();
  let filled = 0;
  let said = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const alive = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => controller.abort(), STALL_MS);
  };
  try {
    alive();
    const { ok, body } = await fetch(url, { signal: controller.signal, ...(cache && { cache }) });
    if (!ok || !body) return 0;
    for await (const piece of piecesOf(body)) {
      alive();
      if (filled + piece.length > target.length) return 0;
      target.set(piece, filled);
      filled += piece.length;
      if (filled - said < PIECE && filled < target.length) continue;
      onBytes(filled - said);
      said = filled;
    }
    return filled === target.length ? filled : 0;
  } catch {
    return filled; // the page goes on from here
  } finally {
    clearTimeout(timer);
    controller.abort();
  }
}

/** The body's bytes, in one memory for all pieces where the browser can: each in its own is garbage soon, of as many
 * bytes as the model has. */
async function* piecesOf(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<Uint8Array> {
  let reader: ReadableStreamBYOBReader;
  try {
    reader = body.getReader({ mode: "byob" });
  } catch {
    return yield* body;
  }
  for (let memory = new ArrayBuffer(PIECE); ; ) {
    const { done, value } = await reader.read(new Uint8Array(memory));
    if (value) memory = value.buffer as ArrayBuffer;
    if (done) return;
    yield value;
  }
}
