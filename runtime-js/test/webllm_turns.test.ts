// Tests WebLLM's engine on tools and on conversations that go on, over engines without a GPU.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ChatCompletion, ChatCompletionChunk } from "../src/chat/index.js";
import { Engine } from "../src/index.js";
import { CreateMLCEngine, MLCEngine } from "../src/webllm/index.js";
import { open } from "./fake_engine.js";
import { type Reply, sourceOf } from "./fake_source.js";

const APP = {
  model_list: ["one", "two"].map((id) => ({ model: `https://a.example/${id}/`, model_id: id, model_lib: "" })),
};
const user = { role: "user" as const, content: "x" };
const assistant = { role: "assistant" as const, content: "y" };
const system = { role: "system" as const, content: "z" };
const request = { messages: [user], temperature: 0, max_tokens: 3 };
const tool = (name: string) => ({ type: "function" as const, function: { name, parameters: { type: "object" } } });

beforeEach(() => {
  vi.spyOn(Engine, "load").mockImplementation(async () => open().engine);
});
afterEach(() => {
  vi.restoreAllMocks();
});
const load = (): Promise<MLCEngine> => CreateMLCEngine("one", { appConfig: APP });
async function all<T>(chunks: unknown): Promise<T[]> {
  const list: T[] = [];
  for await (const chunk of chunks as AsyncIterable<T>) list.push(chunk);
  return list;
}

describe("tools", () => {
  const tools = [tool("a"), tool("b")];
  const call = { id: "abcdefghi", name: "b", arguments: '{"city": "Tokyo"}' };
  const replies = (...list: Reply[]) => {
    const made = sourceOf(list);
    const info = { ...made.source.info, adapter: { vendor: "", description: "" } };
    vi.mocked(Engine.load).mockResolvedValueOnce({ ...made.source, info, unload: async () => {} } as never);
    return made;
  };

  it("are called, whole and in a stream, by any model and beside a system message", async () => {
    replies({ reasoning: "Hm.", text: ["Wait."], calls: [call] });
    const mlc = await load();
    const asked = { ...request, messages: [system, user], tools };
    const { choices } = (await mlc.chatCompletion(asked)) as ChatCompletion;
    const { id, name, arguments: json } = call;
    expect(choices[0]).toMatchObject({
      message: { content: "Wait.", tool_calls: [{ id, type: "function", function: { name, arguments: json } }] },
      finish_reason: "tool_calls",
    });
    const chunks = await all<ChatCompletionChunk>(await mlc.chatCompletion({ ...asked, stream: true }));
    expect(chunks.at(-1)!.choices[0]!.finish_reason).toBe("tool_calls");
    const parts = chunks.flatMap(({ choices: [one] }) => one!.delta.tool_calls ?? []);
    expect(parts.map((part) => part.function!.arguments).join("")).toBe(json);
    expect(parts[0]).toMatchObject({ index: 0, id, function: { name } });
  });

  it("are those that the template is handed, with a result's call", async () => {
    const { asked } = replies({ text: ["yes"] });
    const mlc = await load();
    const calls = {
      role: "assistant",
      tool_calls: [{ id: "1", type: "function", function: { name: "b", arguments: "{}" } }],
    };
    const turns = [user, calls, { role: "tool", tool_call_id: "1", content: "rain" }];
    for (const tool_choice of ["auto", "none"])
      await mlc.chatCompletion({ ...request, tools, tool_choice, messages: turns } as never);
    const names = asked.map(({ options }) =>
      (options.tools as { function: { name: string } }[])?.map((one) => one.function.name),
    );
    expect(names).toEqual([["a", "b"], undefined]);
    expect(asked[0]!.messages.at(-1)).toMatchObject({ role: "tool", content: "rain" });
    const wrong = { ...request, tools, tool_choice: { type: "function", function: { name: "c" } } };
    await expect(mlc.chatCompletion(wrong as never)).rejects.toMatchObject({ param: "tool_choice" });
  });
});

describe("a conversation", () => {
  it("goes on in the KV cache, and a changed one or one of another person does not", async () => {
    const reset = vi.fn();
    const processor = { processLogits: (x: Float32Array) => x, processSampledToken() {}, resetState: reset };
    const mlc = await load();
    mlc.setLogitProcessorRegistry(new Map([["one", processor]]));
    const resets = async (turns: object[]): Promise<number> => {
      reset.mockClear();
      await mlc.chatCompletion({ ...request, messages: turns as never });
      return reset.mock.calls.length;
    };
    const begun = [system, user];
    expect(await resets(begun)).toBe(1);
    expect(await resets([...begun, assistant, user])).toBe(0);
    expect(await resets([...begun, assistant, user, assistant, user])).toBe(0);
    expect(await resets([{ ...system, content: "other" }, user, assistant, user])).toBe(1);
    expect(await resets([{ ...system, content: "other" }, { ...user, name: "Bob" }, assistant, user])).toBe(1);
  });

  it("may be reset before there is one, which does nothing", async () => {
    const mlc = new MLCEngine({ appConfig: APP });
    await mlc.resetChat();
    await mlc.reload(["one", "two"]);
    await mlc.resetChat(false, "three");
    await expect(mlc.resetChat()).rejects.toMatchObject({ name: "UnclearModelToUseError" });
  });

  it("is of the model that is asked for; null asks for the only one", async () => {
    const none = new MLCEngine({ appConfig: APP });
    await expect(none.completion({ prompt: "x" })).rejects.toMatchObject({ name: "ModelNotLoadedError" });
    await expect(none.getMessage()).rejects.toMatchObject({ name: "ModelNotLoadedError" });
    const mlc = await load();
    expect(((await mlc.chatCompletion({ ...request, model: null as never })) as ChatCompletion).model).toBe("one");
    for (const wrong of [mlc.getMessage("x"), mlc.runtimeStatsText("x"), mlc.forwardTokensAndSample([5], true, "x")])
      await expect(wrong).rejects.toMatchObject({ name: "SpecifiedModelNotFoundError", param: "model" });
  });
});
