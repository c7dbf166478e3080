// Declares the messages that apps of WebLLM may send to a worker beside the engine's own. The engine's are those of
// src/worker: an app that overrides `onmessage` sees them, and passes on what it does not know.

export interface CustomRequestParams {
  requestName: string;
  requestMessage: string;
}
export interface WorkerRequest {
  kind: string;
  uuid: string;
  content: unknown;
}
export interface WorkerResponse {
  kind: string;
  uuid: string;
  content?: unknown;
}
