// The doors take pictures in their own forms, for models that take some.
import { generateText } from "ai";
import { afterEach, describe, expect, it, vi } from "vitest";
import { mlcweb } from "../src/ai_sdk/index.js";
import { createFetch } from "../src/openai/index.js";
import { createLanguageModel } from "../src/prompt_api/index.js";
import type { CreateOptions, Message } from "../src/prompt_api/types.js";
import type { ContentPart } from "../src/text/content.js";
import { ModelType, postInitAndCheckFieldsChatCompletion } from "../src/webllm/index.js";
import { type Asked, sourceOf } from "./fake_source.js";
import { browserOf, Pixels } from "./pixels.js";

const ok = [{ text: ["ok"] }];
const PNG = new Uint8Array([1, 2, 3]);
const BASE64 = btoa(String.fromCharCode(...PNG));
/** The content of the last message that was asked. */
const said = (asked: readonly Asked[]): ContentPart[] => asked.at(-1)!.messages.at(-1)!.content as ContentPart[];
const bytesOf = async (part: ContentPart | undefined): Promise<number[]> => {
  const { image } = part as { image: Blob };
  return [...new Uint8Array(await image.arrayBuffer())];
};

afterEach(() => vi.unstubAllGlobals());

describe("the AI SDK", () => {
  const ask = async (content: unknown[], images = true) => {
    browserOf(4, 4);
    const made = sourceOf(ok, 1000, images);
    const messages = [{ role: "user", content }] as Parameters<typeof generateText>[0]["messages"] & object;
    return { result: await generateText({ model: mlcweb(made.source), messages }), ...made };
  };

  it("gives files with bytes, base64 and URLs", async () => {
    const { asked, result } = await ask([
      { type: "text", text: "what?" },
      { type: "file", data: PNG, mediaType: "image/png" },
      { type: "file", data: BASE64, mediaType: "image" },
    ]);
    expect(result.text).toBe("ok");
    const [text, bytes, data] = said(asked);
    expect(text).toEqual({ type: "text", text: "what?" });
    expect(await bytesOf(bytes)).toEqual([...PNG]);
    expect(data).toEqual({ type: "image", image: `data:image/png;base64,${BASE64}` });
    expect(asked.at(-1)!.request!.pictures).toHaveLength(2);
  });

  it("leaves the fetching of URLs to the engine", async () => {
    const fetched = vi.fn(async () => new Response(PNG));
    vi.stubGlobal("fetch", fetched);
    const url = "https://pictures.example/cat.png";
    const providerOptions = { mlcweb: { imageDetail: "low" } };
    const { asked } = await ask([{ type: "file", data: new URL(url), mediaType: "image/png", providerOptions }]);
    expect(said(asked)).toEqual([{ type: "image", image: url, detail: "low" }]);
    expect(asked.at(-1)!.request!.pictures![0]!.rows).toBe(0);
    expect(fetched).toHaveBeenCalledTimes(1);
  });

  it.each([
    ["a picture for a model that takes none", "image/png", false],
    ["a sound", "audio/wav", true],
  ])("refuses %s", async (_, mediaType, images) => {
    const asked = ask([{ type: "file", data: PNG, mediaType }], images);
    await expect(asked).rejects.toMatchObject({ name: "AI_UnsupportedFunctionalityError" });
  });
});

describe("the Prompt API", () => {
  const IMAGES: CreateOptions = { expectedInputs: [{ type: "image" }] };
  const make = (images: boolean, contextLength = 1000) => {
    browserOf(4, 4);
    const made = sourceOf(ok, contextLength, images);
    return { LanguageModel: createLanguageModel({ bundle: made.source }), ...made };
  };
  const prompt = (...content: object[]): Message[] => [{ role: "user", content: content as never }];
  const words = (value: string) => ({ type: "text", value });
  const picture = (value: unknown) => ({ type: "image", value });

  it("gives pictures and bytes, and keeps them in the conversation", async () => {
    const { LanguageModel, asked } = make(true);
    expect(await LanguageModel.availability(IMAGES)).toBe("available");
    const session = await LanguageModel.create(IMAGES);
    expect(await session.prompt(prompt(words("what?"), picture(PNG), picture(PNG.buffer)))).toBe("ok");
    const [, view, buffer] = said(asked);
    expect([await bytesOf(view), await bytesOf(buffer)]).toEqual([[...PNG], [...PNG]]);
    await session.prompt("and?");
    const first = asked.at(-1)!.messages.find(({ role }) => role === "user")!;
    expect((first.content as ContentPart[]).map(({ type }) => type)).toEqual(["text", "image", "image"]);
    expect(asked.at(-1)!.request!.pictures).toHaveLength(2);
  });

  it("keeps a picture as it was when it was given", async () => {
    const { LanguageModel, asked } = make(true);
    const session = await LanguageModel.create(IMAGES);
    const pixels = new Pixels(4, 4);
    await session.append(prompt(picture(pixels)));
    await session.prompt("what?");
    expect(said(asked)).toMatchObject([
      { type: "image", image: { of: pixels } },
      { type: "text", text: "\n\nwhat?" },
    ]);
  });

  it("counts what pictures take", async () => {
    const { LanguageModel } = make(true);
    const session = await LanguageModel.create(IMAGES);
    const [text, both] = [prompt(words("what?")), prompt(words("what?"), picture(PNG), words(" and a picture"))];
    const [less, more] = [await session.measureContextUsage(text), await session.measureContextUsage(both)];
    expect(less).toBeGreaterThan(0);
    expect(more).toBeGreaterThan(less);
    expect(session.contextUsage).toBe(0);
  });

  it("refuses pictures that were not expected, and sessions of models that take none", async () => {
    const { LanguageModel } = make(true);
    const session = await LanguageModel.create();
    const unexpected = { name: "NotSupportedError" };
    await expect(session.prompt(prompt(picture(PNG)))).rejects.toMatchObject(unexpected);
    const blind = make(false).LanguageModel;
    expect(await blind.availability(IMAGES)).toBe("unavailable");
    await expect(blind.create(IMAGES)).rejects.toMatchObject(unexpected);
    const seeing = await LanguageModel.create(IMAGES);
    const answered: Message[] = [{ role: "assistant", content: [picture(PNG)] as never }];
    await expect(seeing.prompt(answered)).rejects.toMatchObject(unexpected);
    await expect(seeing.prompt(prompt(picture("cat.png")))).rejects.toThrow(TypeError);
    await expect(seeing.prompt(prompt(picture({})))).rejects.toMatchObject({ name: "UnknownError" });
    const broken = new Blob(["broken"]);
    await expect(seeing.prompt(prompt(picture(broken)))).rejects.toThrow("cannot be decoded");
  });
});

describe("OpenAI's HTTP API", () => {
  const image_url = { url: `data:image/png;base64,${BASE64}` };
  const ask = async (images: boolean, more: object = {}) => {
    browserOf(4, 4);
    const { source, asked } = sourceOf(ok, 1000, images);
    const content = [
      { type: "text", text: "what?" },
      { type: "image_url", image_url: { ...image_url, ...more } },
    ];
    const body = JSON.stringify({ model: "fake", messages: [{ role: "user", content }] });
    const answer = await createFetch(source)("http://page/v1/chat/completions", { method: "POST", body });
    return { status: answer.status, json: await answer.json(), asked };
  };

  it("gives image_url", async () => {
    const { status, asked } = await ask(true, { detail: "low" });
    expect(status).toBe(200);
    expect(said(asked)[1]).toEqual({ type: "image", image: image_url.url, detail: "low" });
  });

  it("says which part a model does not take", async () => {
    const { status, json } = await ask(false);
    expect(status).toBe(400);
    expect(json.error).toMatchObject({ param: "messages[0].content[1]", type: "invalid_request_error" });
  });
});

describe("WebLLM's checks", () => {
  const image = { type: "image_url" as const, image_url: { url: "https://pictures.example/cat.png" } };
  const request = { messages: [{ role: "user" as const, content: [image] }] };
  it("admit pictures for models of pictures alone", () => {
    const check = (type: ModelType, kinds?: ReadonlySet<"image" | "audio">) => () =>
      postInitAndCheckFieldsChatCompletion(request, "m", type, kinds);
    expect(check(ModelType.VLM)).not.toThrow();
    expect(check(ModelType.LLM, new Set(["image"]))).not.toThrow();
    expect(check(ModelType.LLM)).toThrow("this model takes no pictures");
    expect(check(ModelType.VLM, new Set())).toThrow("this model takes no pictures");
  });
});
