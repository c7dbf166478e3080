// Pictures cross to a worker: as they are where ports carry them, as bitmaps where not.
import { afterEach, describe, expect, it, vi } from "vitest";
import { portable } from "../src/chat/bitmaps.js";
import { InvalidRequestError } from "../src/errors.js";
import { plainCopy, toJson } from "../src/worker/plain.js";

class Canvas {
  readonly [Symbol.toStringTag] = "OffscreenCanvas";
}
class Element {
  readonly [Symbol.toStringTag] = "HTMLImageElement";
  constructor(readonly decode: () => Promise<void>) {}
}
const asked = (...content: unknown[]) => ({
  messages: [
    { role: "system", content: "x" },
    { role: "user", content },
  ],
});
const picture = (image: unknown) => ({ type: "image", image });

afterEach(() => vi.unstubAllGlobals());

describe("portable", () => {
  it.each([
    ["nothing", null],
    ["no messages", { messages: 3 }],
    ["messages that are none", { messages: [null] }],
    ["parts that are none", asked(null)],
    ["words", asked({ type: "text", text: "a" })],
    ["a blob", asked(picture(new Blob(["a"])))],
    ["a URL", asked(picture("https://pictures.example/cat.png"))],
  ])("leaves %s as it is, at once", (_, request) => {
    expect(portable(request)).toBe(request);
  });

  it("makes bitmaps of canvases and of elements that are loaded", async () => {
    const order: string[] = [];
    vi.stubGlobal("createImageBitmap", async (source: object) => {
      order.push("bitmap");
      return { of: source };
    });
    const element = new Element(async () => void order.push("decoded"));
    expect(await portable(asked(picture(element)))).toEqual(asked(picture({ of: element })));
    expect(order).toEqual(["decoded", "bitmap"]);
    const [canvas, blob, words] = [new Canvas(), picture(new Blob(["a"])), { type: "text", text: "a" }];
    const request = { ...asked(words, picture(canvas), blob), temperature: 0 };
    expect(await portable(request)).toEqual({ ...asked(words, picture({ of: canvas }), blob), temperature: 0 });
    expect(request.messages[1]!.content[1]).toEqual(picture(canvas));
  });

  it("names a picture of which no bitmap can be made", async () => {
    const broken = new Element(() => Promise.reject(new DOMException("broken.", "EncodingError")));
    const made = portable(asked({ type: "text", text: "a" }, picture(broken)));
    await expect(made).rejects.toThrow(InvalidRequestError);
    await expect(made).rejects.toThrow("messages[1].content[1]: no bitmap can be made of it: broken.");
  });
});

describe("copies", () => {
  const blob = new Blob(["a"]);
  it("keep what ports carry", () => {
    expect(plainCopy({ args: [asked(picture(blob))] })).toEqual({ args: [asked(picture(blob))] });
    const { args } = plainCopy({ args: [picture(blob)] }) as { args: { image: Blob }[] };
    expect(args[0]!.image).toBe(blob);
  });

  it("refuse it where a port carries text alone", () => {
    expect(() => toJson({ args: [asked(picture(blob))] })).toThrow(
      "messages[1].content[0].image: is a Blob, which cannot cross to a worker.",
    );
  });
});
