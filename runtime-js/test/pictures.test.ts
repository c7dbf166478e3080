// Requests have pictures: they are checked, rendered, read, and put into the prompt.
import { afterEach, describe, expect, it, vi } from "vitest";
import { type ChatModel, prepareChat } from "../src/chat/reading.js";
import { parseChatRequest } from "../src/chat/request.js";
import { CancelledError, InvalidRequestError } from "../src/errors.js";
import { code } from "../src/images/code.js";
import type { ImageFacts } from "../src/images/facts.js";
import { picturePrompt } from "../src/images/prompt.js";
import { Recent } from "../src/images/recent.js";
import { joinContents } from "../src/text/content.js";
import { ChatTemplate } from "../src/text/template.js";
import { browserOf, Pixels } from "./pixels.js";
import { SMALL } from "./smolvlm.js";

/** Writes parts alone, as SmolVLM's does. */
const TEMPLATE =
  "{% for message in messages %}{{ message.role }}:{% for part in message.content %}" +
  "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}|{% endfor %}";

const modelOf = (images: ImageFacts | undefined, template = TEMPLATE): ChatModel => {
  const chat = new ChatTemplate({ chat_template: template });
  return {
    answers: undefined,
    templateHasTools: false,
    renderChat: (messages, options) => chat.render(messages, options),
    specialsIn: () => new Map(),
    token: String,
    encode: () => [],
    images,
    imagesCode: async () => code,
  };
};
function prepare(
  content: unknown,
  { images: facts = { ...SMALL } as ImageFacts | null, template = TEMPLATE, ...more } = {},
) {
  const images = facts ?? undefined;
  const parsed = parseChatRequest({ messages: [{ role: "user", content }], ...more }, { vocabSize: 10, images });
  return prepareChat(parsed, modelOf(images, template));
}
const picture = (width = 8, height = 8, more = {}) => ({ type: "image", image: new Pixels(width, height), ...more });
const text = (words: string) => ({ type: "text", text: words });
const one = picturePrompt(SMALL, { rows: 0, columns: 0 });
const split = picturePrompt(SMALL, { rows: 2, columns: 2 });

afterEach(() => vi.unstubAllGlobals());

describe("a chat with pictures", () => {
  it("has them in their places, in their order", async () => {
    const content = [text("a "), picture(), text(" b "), picture(3, 1, { detail: "low" })];
    const prepared = await prepare(content);
    expect(prepared.text).toBe(`user:a ${split} b ${one}|`);
    expect(prepared.pictures.map(({ rows, columns, tiles }) => [rows, columns, tiles.length])).toEqual([
      [2, 2, 5],
      [0, 0, 1],
    ]);
    expect([...prepared.pictures[1]!.tiles[0]!.subarray(0, 3)]).toEqual([1, 2, 3]);
  });

  it("tells pictures apart by what the model sees", async () => {
    const image = (red: number, alpha: number) => ({ type: "image", image: new Pixels(4, 4, [red, 2, 3, alpha]) });
    const { pictures } = await prepare([image(1, 255), image(1, 255), image(9, 255), image(1, 0), image(9, 0)]);
    const [a, b, c, d, e] = pictures.map(({ key }) => key);
    expect(a).toBe(b);
    expect(a).not.toBe(c);
    expect(d).toBe(e);
    expect([...pictures[3]!.tiles[0]!]).toEqual(Array(8 * 8 * 3).fill(255));
  });

  it("gives the template words in parts too", async () => {
    expect((await prepare("words")).text).toBe("user:words|");
    const { text: rendered, pictures } = await prepare([text("a"), text("b")]);
    expect([rendered, pictures]).toEqual(["user:ab|", []]);
  });

  it("refuses a text that stands for a picture, and a template that drops pictures", async () => {
    await expect(prepare("an <image>")).rejects.toThrow("messages: a text has <image>");
    await expect(prepare([text("an <image>"), picture()])).rejects.toThrow("messages: a text has <image>");
    const dropping = "{% for message in messages %}{{ message.role }}{% endfor %}";
    await expect(prepare([picture()], { template: dropping })).rejects.toThrow("places for 0 of the 1 pictures");
  });

  it("hears aborts", async () => {
    const stop = new AbortController();
    stop.abort();
    await expect(prepare([picture()], { signal: stop.signal } as object)).rejects.toThrow(CancelledError);
  });

  it("refuses pictures for a model that takes none", async () => {
    const error = await Promise.resolve()
      .then(() => prepare([text("a"), picture()], { images: null }))
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(InvalidRequestError);
    expect(error).toMatchObject({ param: "messages[0].content[1]" });
    expect((error as Error).message).toContain("this model takes no pictures.");
  });
});

const data = "data:image/png;base64,AAAA";
describe.each<[string, string, unknown]>([
  ["[0]", "an unknown type", { type: "input_audio" }],
  ["[0]", "null", null],
  ["[0].image_url", "no object", { type: "image_url", image_url: 3 }],
  ["[0].image_url.url", "no URL", { type: "image_url", image_url: {} }],
  ["[0].image_url.url", "a relative URL", { type: "image_url", image_url: { url: "cat.png" } }],
  ["[0].image_url.url", "a script", { type: "image_url", image_url: "javascript:1" }],
  ["[0].image_url.size", "an unknown field", { type: "image_url", image_url: { url: data, size: 3 } }],
  ["[0].image_url.detail", "an unknown detail", { type: "image_url", image_url: { url: data, detail: "best" } }],
  ["[0].image", "nothing", { type: "image" }],
  ["[0].image", "an object", { type: "image", image: {} }],
  ["[0].image", "bytes", { type: "image", image: new Uint8Array(3) }],
  ["[0].detail", "an unknown detail of a picture", { type: "image", image: data, detail: 3 }],
])("content%s", (path, what, part) => {
  it(`is refused where it is ${what}`, () => {
    const asked = { messages: [{ role: "user", content: [part] }] };
    const parse = (): unknown => parseChatRequest(asked, { vocabSize: 10, images: SMALL });
    expect(parse).toThrow(InvalidRequestError);
    expect(parse).toThrow(`messages[0].content${path}:`);
  });
});

describe("roles", () => {
  it.each(["system", "developer", "assistant", "tool"])("refuses a picture of the %s's", (role) => {
    const asked = { messages: [{ role, content: [text("a"), picture()] }] };
    const parse = (): unknown => parseChatRequest(asked, { vocabSize: 10, images: SMALL });
    expect(parse).toThrow(`messages[0].content[1]: is a picture in a message of the role ${role}`);
  });
});

describe("decoding", () => {
  const blob = (content: string, type = "image/png"): object => ({
    type: "image",
    image: new Blob([content], { type }),
  });

  it("reads blobs and data URLs, and closes bitmaps", async () => {
    const closed = browserOf(5, 4);
    const url = { type: "image_url", image_url: { url: `data:image/png;base64,${btoa("png")}`, detail: "low" } };
    const escaped = { type: "image_url", image_url: "data:image/png,%89PNG" };
    const { pictures } = await prepare([blob("png"), url, escaped]);
    expect(pictures.map(({ rows }) => rows)).toEqual([2, 0, 2]);
    expect([...pictures[0]!.tiles[0]!.subarray(0, 3)]).toEqual([7, 8, 9]);
    expect(closed).toHaveBeenCalledTimes(3);
  });

  it.each<[string, string, object]>([
    ["what is broken", "cannot be decoded (image/png): no picture.", blob("broken")],
    ["what is empty", "is empty.", blob("")],
    ["base64 that is none", "is no data URL", { type: "image_url", image_url: "data:image/png;base64,!" }],
    ["a data URL without data", "is no data URL", { type: "image_url", image_url: "data:image/png" }],
  ])("refuses %s", async (_, message, part) => {
    browserOf(5, 4);
    const asked = prepare([text("a"), part]);
    await expect(asked).rejects.toThrow(InvalidRequestError);
    await expect(asked).rejects.toThrow(`messages[0].content[1]: ${message}`);
  });

  it.each([
    [0, 4, "has no pixels"],
    [65_536, 1, "has 65536 x 1 pixels"],
    [10_001, 10_000, "has 10001 x 10000 pixels"],
  ])("refuses %d x %d pixels", async (width, height, message) => {
    const closed = browserOf(width, height);
    await expect(prepare([blob("png")])).rejects.toThrow(`messages[0].content[0]: ${message}`);
    expect(closed).toHaveBeenCalled();
  });

  it("does not decode a file that says that it is too large", async () => {
    const closed = browserOf(5, 4);
    const header = [0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52];
    const file = new Blob([Uint8Array.from([...header, 0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30])]);
    await expect(prepare([{ type: "image", image: file }])).rejects.toThrow("has 30000 x 30000 pixels");
    expect(closed).not.toHaveBeenCalled();
  });

  it("says that a page may not read a picture of another origin", async () => {
    browserOf(5, 4, () => {
      throw new DOMException("tainted.", "SecurityError");
    });
    await expect(prepare([blob("png")])).rejects.toThrow("the page may not read its pixels: tainted.");
  });

  it("fetches URLs, and says what goes wrong", async () => {
    browserOf(5, 4);
    const url = { type: "image_url", image_url: { url: "https://pictures.example/cat.png" } };
    const answers = (answer: () => Response) => vi.stubGlobal("fetch", async () => answer());
    answers(() => new Response("png"));
    expect((await prepare([url])).pictures).toHaveLength(1);
    answers(() => new Response("", { status: 404 }));
    await expect(prepare([url])).rejects.toMatchObject({ code: "invalid-request", param: "messages[0].content[0]" });
    answers(() => new Response("", { status: 503 }));
    await expect(prepare([url])).rejects.toMatchObject({ code: "network" });
    answers(() => {
      throw new TypeError("Failed to fetch");
    });
    await expect(prepare([url])).rejects.toMatchObject({ code: "network", hint: expect.stringContaining("CORS") });
    let cancelled = false;
    const endless = () =>
      new ReadableStream({
        pull: (controller) => controller.enqueue(new Uint8Array(16 << 20)),
        cancel: () => {
          cancelled = true;
        },
      });
    answers(() => new Response(endless()));
    await expect(prepare([url])).rejects.toMatchObject({
      code: "invalid-request",
      message: expect.stringContaining("more than 128 MiB"),
    });
    expect(cancelled).toBe(true);
    const stop = new AbortController();
    answers(() => {
      stop.abort();
      throw new DOMException("aborted", "AbortError");
    });
    await expect(prepare([url], { signal: stop.signal } as object)).rejects.toMatchObject({ code: "cancelled" });
  });
});

describe("recent pictures", () => {
  it("are not decoded again, of a model and of a detail", async () => {
    const closed = browserOf(5, 4);
    const images = { ...SMALL };
    const ask = async (...parts: object[]) => (await prepare(parts, { images })).pictures;
    const part = (content: string, more = {}) => ({ type: "image", image: new Blob([content]), ...more });
    const [first] = await ask(part("a"));
    const again = await ask(part("a"), part("b"), part("a", { detail: "low" }));
    expect(again[0]).toBe(first);
    expect(again.map(({ rows }) => rows)).toEqual([2, 2, 0]);
    expect(closed).toHaveBeenCalledTimes(3);
    await prepare([part("a")], { images: { ...images } });
    expect(closed).toHaveBeenCalledTimes(4);
  });

  it("go where they take too much memory, the oldest first", () => {
    const recent = new Recent();
    const of = (mebibytes: number) => ({ tiles: [new Uint8Array(mebibytes << 20)], rows: 0, columns: 0, key: "" });
    const kept = (): string[] => ["a", "b", "c", "d"].filter((name) => recent.get(name));
    for (const name of ["a", "b", "c"]) recent.set(name, of(20));
    expect(kept()).toEqual(["a", "b", "c"]);
    recent.get("a");
    recent.set("d", of(30));
    expect(kept()).toEqual(["a", "d"]);
    recent.set("b", of(70));
    expect(kept()).toEqual(["b"]);
  });
});

describe("joinContents", () => {
  const image = { type: "image", image: data } as const;
  it.each([
    ["a", "b", "a-b"],
    ["", "b", "b"],
    ["a", "", "a"],
    ["a", [image], [text("a-"), image]],
    [[image], "b", [image, text("-b")]],
    [[image], [image], [image, text("-"), image]],
  ] as const)("of %j and %j", (first, second, both) => {
    expect(joinContents(first as never, second as never, "-")).toEqual(both);
  });
});
