// Makes one kind of wire of all that carries messages: a MessagePort, and an extension's port, which carries only JSON.
import { fromJson, plainCopy, toJson } from "./plain.js";
import { type Message, marked, readMessage } from "./protocol.js";

export interface Wire {
  /** Throws InvalidRequestError, which names the field, for what cannot cross. */
  post(message: Message): void;
  /** Hears all that comes from now on. `gone` is called once, when the other side is known to be gone. */
  listen(hear: (message: Message) => void, gone: (why: string) => void): void;
  close(): void;
}

/** What `chrome.runtime.connect` gives, as far as it is needed. */
export interface ExtensionPort {
  postMessage(message: unknown): void;
  disconnect(): void;
  readonly onMessage: { addListener(listener: (message: unknown) => void): void };
  readonly onDisconnect: { addListener(listener: () => void): void };
}

export const isExtensionPort = (value: object): value is ExtensionPort =>
  "onDisconnect" in value && "onMessage" in value && "postMessage" in value;

export function extensionWire(port: ExtensionPort): Wire {
  let open = true;
  return {
    post(message) {
      if (open) port.postMessage(toJson(marked(message)));
    },
    listen(hear, gone) {
      port.onMessage.addListener((data) => {
        const message = open && readMessage(fromJson(data));
        if (message) hear(message);
      });
      port.onDisconnect.addListener(() => {
        if (!open) return;
        open = false;
        gone("its port was disconnected");
      });
    },
    close() {
      if (open) port.disconnect();
      open = false;
    },
  };
}

export function portWire(port: MessagePort): Wire {
  let open = true;
  return {
    post(message) {
      if (!open) return;
      try {
        port.postMessage(marked(message));
      } catch (error) {
        if (!(error instanceof DOMException && error.name === "DataCloneError")) throw error;
        // Proxies, as of Vue, cannot be cloned, and their copies can. Functions are refused by name.
        port.postMessage(marked(plainCopy(message) as Message));
      }
    },
    listen(hear, gone) {
      const end = (why: string) => (): void => {
        if (!open) return;
        open = false;
        gone(why);
      };
      port.addEventListener("message", ({ data }) => {
        const message = open && readMessage(data);
        if (message) hear(message);
      });
      port.addEventListener("messageerror", end("a message came that cannot be read"));
      port.addEventListener("close", end("its port was closed")); // where browsers have this event
      port.start();
    },
    close() {
      open = false;
      port.close();
    },
  };
}
