// Makes a ReadableStream of what an iterator gives, an item each time that the reader asks: who does not read holds the
// engine back, and who leaves ends the answer.

/** `signal` is the caller's, whose reason the reader gets; `stop` ends what the items come from. */
export function readable<T>(
  items: AsyncIterator<T>,
  signal: AbortSignal | undefined,
  stop: AbortController,
): ReadableStream<T> {
  let aborted = (): void => {};
  const forget = (): void => signal?.removeEventListener("abort", aborted);
  const leave = (): void => {
    forget();
    stop.abort(signal?.reason);
    items.return?.()?.catch(() => {}); // it may end with the signal's error
  };
  return new ReadableStream<T>(
    {
      start(controller) {
        aborted = () => {
          controller.error(signal!.reason);
          leave();
        };
        if (signal?.aborted) aborted();
        else signal?.addEventListener("abort", aborted, { once: true });
      },
      async pull(controller) {
        try {
          const { done, value } = await items.next();
          if (stop.signal.aborted) return;
          if (!done) return controller.enqueue(value);
          controller.close();
        } catch (error) {
          if (stop.signal.aborted) return;
          controller.error(error);
        }
        forget();
      },
      cancel: leave,
    },
    { highWaterMark: 0 },
  );
}
