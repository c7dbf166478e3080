// Drives the doors to the engine in a page, with the clients that pages use. test_doors.py bundles it.
import { generateText, streamText } from "ai";
import OpenAI from "openai";
import { mlcweb } from "./ai-sdk.js";
import { deleteFromCache, Engine } from "./mlcweb.js";
import { createFetch } from "./openai.js";
import { createLanguageModel } from "./prompt-api.js";

const messages = [{ role: "user", content: "hello" }];
const LIMITS = { contextLength: 128 };
let engine;

async function joined(pieces, textOf = (piece) => piece) {
  let text = "";
  for await (const piece of pieces) text += textOf(piece) ?? "";
  return text;
}

window.doors = {
  async openai() {
    engine = await Engine.load("./bundle/", LIMITS);
    const client = new OpenAI({
      baseURL: "http://page/v1",
      apiKey: "none",
      dangerouslyAllowBrowser: true,
      fetch: createFetch(engine),
    });
    const request = { model: "mini", messages, temperature: 0 };
    const whole = await client.chat.completions.create(request);
    const ask = () => client.chat.completions.create({ ...request, stream: true });
    for await (const _ of await ask()) break;
    const streamed = await joined(await ask(), ({ choices }) => choices[0]?.delta.content);
    const wrong = await client.chat.completions.create({ ...request, temperature: 9 }).catch((error) => error);
    return { whole: whole.choices[0].message.content, streamed, status: wrong.status, param: wrong.param };
  },
  async aiSdk() {
    const options = { model: mlcweb(engine), messages, temperature: 0 };
    const { text, finishReason } = await generateText(options);
    return { text, finishReason, streamed: await joined(streamText(options).textStream) };
  },
  async promptApi() {
    const progress = [];
    const LanguageModel = createLanguageModel({ bundle: "./bundle/", preferNative: false, load: LIMITS });
    await deleteFromCache("./bundle/"); // an earlier load has kept it
    const before = await LanguageModel.availability();
    const monitor = (target) => target.addEventListener("downloadprogress", ({ loaded }) => progress.push(loaded));
    const session = await LanguageModel.create({ samplingMode: "most-predictable", monitor });
    const copy = await session.clone();
    const third = await session.clone();
    const fourth = await session.clone();
    const result = {
      before,
      after: await LanguageModel.availability(),
      progress: [progress[0], progress.at(-1)],
      answer: await session.prompt("hello"),
      usage: session.contextUsage,
      second: await session.prompt("more"),
      streamed: await joined(copy.promptStreaming("hello")),
      begun: await third.prompt([...messages, { role: "assistant", content: "ab", prefix: true }]),
      constrained: await fourth.prompt("hello", { responseConstraint: /^[0-9]{3}$/, omitResponseConstraintInput: true }),
    };
    await LanguageModel.unload();
    result.kept = await LanguageModel.availability();
    result.late = await session.prompt("x").catch(({ name }) => name);
    return result;
  },
};
