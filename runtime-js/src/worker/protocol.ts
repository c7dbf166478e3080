// Declares the messages between a page and a worker. What is no such message, or is malformed, is told apart here: it
// is somebody else's, and is left alone.
import type { ErrorJson } from "./error_json.js";

/** Both sides must speak the same: a page and a worker of two builds may meet. */
export const VERSION = 1;
const MARK = "mlcweb-worker";

/** An argument, or a field of an argument that is an object. */
export type Path = readonly [argument: number, field?: string];

/** A signal among a call's arguments. */
export interface SignalAt {
  readonly path: Path;
  readonly aborted: boolean;
  readonly reason: unknown;
}

export type End = { readonly value: unknown } | { readonly error: ErrorJson };

export type ToWorker =
  /** The first message. `lock` is held for as long as the page is there. */
  | { kind: "hello"; version: number; service: string; lock?: string | undefined }
  | { kind: "call"; id: number; method: string; args: unknown[]; signals: SignalAt[]; callbacks: Path[] }
  /** The signal of this number, in the order of the call's `signals`, fired. */
  | { kind: "abort"; id: number; at: number; reason: unknown }
  /** The page has read this many of a stream's items; the first such message begins the stream. */
  | { kind: "more"; id: number; read: number }
  /** Nobody reads the stream any more. */
  | { kind: "leave"; id: number }
  | { kind: "ping" }
  | { kind: "bye" };

export type ToPage =
  /** Answers hello. `lock` is held for as long as the worker is there. */
  | { kind: "welcome"; lock?: string | undefined }
  | { kind: "refused"; error: ErrorJson }
  | { kind: "result"; id: number; end: End; facts?: unknown }
  /** The call's result is a stream. */
  | { kind: "stream"; id: number }
  | { kind: "items"; id: number; items: unknown[]; end?: End | undefined; facts?: unknown }
  /** The callback of this number, in the order of the call's `callbacks`, is called. */
  | { kind: "event"; id: number; at: number; args: unknown[] }
  | { kind: "pong" };

export type Message = ToWorker | ToPage;

/** Asks an endpoint to serve the port that comes with it. */
export interface ConnectMessage {
  readonly mlcweb: typeof MARK;
  readonly kind: "connect";
  readonly service: string;
}

export const connectMessage = (service: string): ConnectMessage => ({ mlcweb: MARK, kind: "connect", service });
/** Resets the time after which the browser ends a service worker that is idle. */
export const keepAliveMessage = () => ({ mlcweb: MARK, kind: "keep-alive" });
export const isKeepAlive = (data: unknown): boolean => markedRecord(data)?.kind === "keep-alive";

export const marked = (message: Message): object => ({ mlcweb: MARK, ...message });

type Check = (value: unknown) => boolean;
const whole: Check = (value) => Number.isInteger(value) && (value as number) >= 0;
const text: Check = (value) => typeof value === "string";
const list: Check = Array.isArray;
const record: Check = (value) => typeof value === "object" && value !== null;
const path: Check = (value) => Array.isArray(value) && whole(value[0]) && (value.length < 2 || text(value[1]));
const signalAt: Check = (value) => record(value) && path((value as SignalAt).path);
const end: Check = (value) =>
  record(value) && ("value" in (value as object) || record((value as { error?: unknown }).error));
const listOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);
const perhaps =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);

const KINDS: Record<Message["kind"], Readonly<Record<string, Check>>> = {
  hello: { version: whole, service: text, lock: perhaps(text) },
  call: { id: whole, method: text, args: list, signals: listOf(signalAt), callbacks: listOf(path) },
  abort: { id: whole, at: whole },
  more: { id: whole, read: whole },
  leave: { id: whole },
  ping: {},
  bye: {},
  welcome: { lock: perhaps(text) },
  refused: { error: record },
  result: { id: whole, end },
  stream: { id: whole },
  items: { id: whole, items: list, end: perhaps(end) },
  event: { id: whole, at: whole, args: list },
  pong: {},
};

const FIELDS = new Map(Object.entries(KINDS).map(([kind, checks]) => [kind, Object.entries(checks)]));

/** What came, if it is a well-formed message of this protocol. */
export function readMessage(data: unknown): Message | undefined {
  const message = markedRecord(data);
  if (!message) return undefined;
  const right = FIELDS.get(message.kind as string)?.every(([name, check]) => check(message[name]));
  return right ? (message as unknown as Message) : undefined;
}

/** Whether this asks for a connection to the service. */
export const isConnect = (data: unknown, service: string): boolean => {
  const message = markedRecord(data);
  return message?.kind === "connect" && message.service === service;
};

function markedRecord(data: unknown): Record<string, unknown> | undefined {
  return record(data) && (data as { mlcweb?: unknown }).mlcweb === MARK ? (data as Record<string, unknown>) : undefined;
}
