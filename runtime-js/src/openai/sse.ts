// Writes a stream of chunks as server-sent events.
import { readable } from "../chat/readable.js";
import { bodyOf } from "./failures.js";

export function eventStream<Chunk>(
  chunks: AsyncIterable<Chunk>,
  piece: (chunk: Chunk) => unknown,
  signal: AbortSignal,
  stop: AbortController,
): ReadableStream<Uint8Array> {
  return readable(events(chunks, piece), signal, stop);
}

async function* events<Chunk>(
  chunks: AsyncIterable<Chunk>,
  piece: (chunk: Chunk) => unknown,
): AsyncGenerator<Uint8Array, void, void> {
  const encoder = new TextEncoder();
  const event = (data: string): Uint8Array => encoder.encode(`data: ${data}\n\n`);
  try {
    for await (const chunk of chunks) yield event(JSON.stringify(piece(chunk)));
    yield event("[DONE]");
  } catch (error) {
    yield event(JSON.stringify(bodyOf(error))); // the status has gone out already
  }
}
