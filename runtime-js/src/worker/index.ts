// This folder puts an engine behind a worker. Everything but engine_methods.ts, client.ts and serve_*.ts knows nothing
// of engines: listen and serve offer any methods in a worker, and Connection calls them from a page.
export { Connection, type ConnectionOptions } from "./connection.js";
export { type Dial, dialTo, type WorkerLike, type WorkerSource } from "./dial.js";
export { listen } from "./listen.js";
export { RemoteStream } from "./remote_stream.js";
export { type CallContext, type Methods, type ServeOptions, type Session, serve } from "./session.js";
export type { ExtensionPort, Wire } from "./wire.js";
export { portWire } from "./wire.js";
