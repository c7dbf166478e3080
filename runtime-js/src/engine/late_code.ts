// Fetches code that few pages need, which lies beside mlcweb.js.
import { MlcwebError, NetworkError } from "../errors.js";

/** `what` the code does, in `NAME.js`. Throws NetworkError where it cannot be fetched; `instead` says what a service
 * worker does, which may not fetch it. */
export function fetchCode<T>(
  importing: Promise<T>,
  what: string,
  name: string,
  instead = "import mlcweb/serve-service there.",
): Promise<T> {
  return importing.catch((cause) => {
    if (cause instanceof MlcwebError) throw cause;
    throw new NetworkError(
      `${what} cannot be fetched: ${(cause as Error).message}`,
      `Serve ${name}.js beside mlcweb.js. A service worker may not fetch it: ${instead}`,
      { cause },
    );
  });
}
