// Serves calls of the CPU: in a worker that the engine starts, or over a port where there can be no worker. It is a
// file of its own.
import { MlcwebError } from "../errors.js";
import { help, Leader } from "./leader.js";
import { type Calls, HELP, type Helping, READY, type Reply, type Request, WORKER_NAME } from "./protocol.js";

type Port = Pick<MessagePort, "postMessage" | "onmessage">;

/** Answers calls in order, each when the one before is done. */
export function serve(port: Port): void {
  const leader: Calls = new Leader();
  let before: Promise<unknown> = Promise.resolve();
  port.onmessage = ({ data }: MessageEvent<Request>): void => {
    before = before.then(() => answer(leader, data)).then(({ reply, transfer }) => port.postMessage(reply, transfer));
  };
}

async function answer(leader: Calls, { id, name, args }: Request): Promise<{ reply: Reply; transfer: Transferable[] }> {
  try {
    if (name === HELP) {
      const helping = help(args[0] as Helping);
      return { reply: { id, value: await helping }, transfer: [] }; // only a failure to begin is answered
    }
    const value: unknown = await (leader[name] as (...args: readonly unknown[]) => unknown).apply(leader, [...args]);
    return { reply: { id, value }, transfer: value instanceof Float32Array ? [value.buffer] : [] };
  } catch (error) {
    const { message } = error as Error;
    const told = error instanceof MlcwebError ? error.toJSON() : { code: "", message, hint: "" };
    return { reply: { id, error: told }, transfer: [] };
  }
}

const scope = globalThis as unknown as Port & { readonly name?: string };
if (scope.name === WORKER_NAME && typeof document === "undefined") {
  serve(scope);
  scope.postMessage(READY);
}
