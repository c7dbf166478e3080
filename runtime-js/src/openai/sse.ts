// Writes a stream of chunks as server-sent events, one each time that the reader asks, so that who does not read holds
// the engine back, and who leaves ends the answer.
import { bodyOf } from "./failures.js";

export function eventStream<Chunk>(
  chunks: AsyncIterable<Chunk>,
  piece: (chunk: Chunk) => unknown,
  signal: AbortSignal,
  stop: AbortController,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const event = (data: string): Uint8Array => encoder.encode(`data: ${data}\n\n`);
  const iterator = chunks[Symbol.asyncIterator]();
  let aborted = (): void => {};
  const leave = (): void => {
    signal.removeEventListener("abort", aborted);
    stop.abort();
    iterator.return?.()?.catch(() => {}); // it may end with the signal's error
  };
  return new ReadableStream(
    {
      start(controller) {
        aborted = () => {
          controller.error(signal.reason);
          leave();
        };
        if (signal.aborted) aborted();
        else signal.addEventListener("abort", aborted, { once: true });
      },
      async pull(controller) {
        try {
          const { done, value } = await iterator.next();
          if (signal.aborted || stop.signal.aborted) return;
          if (!done) return controller.enqueue(event(JSON.stringify(piece(value))));
          controller.enqueue(event("[DONE]"));
        } catch (error) {
          if (signal.aborted || stop.signal.aborted) return;
          controller.enqueue(event(JSON.stringify(bodyOf(error)))); // the status has gone out already
        }
        signal.removeEventListener("abort", aborted);
        controller.close();
      },
      cancel: leave,
    },
    { highWaterMark: 0 },
  );
}
