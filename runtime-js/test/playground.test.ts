// The playground's pure parts: requests of fields, the fields that refusals come from, and the code of a request.
import { InvalidRequestError } from "mlcweb";
import { describe, expect, it } from "vitest";
import { type Program, programOf } from "../pages/playground/code.js";
import { literal } from "../pages/playground/literal.js";
import { placeOf } from "../pages/playground/places.js";
import { percent, visible } from "../pages/playground/probability.js";
import { chatRequest, MOST_ROUNDS, roundsOf, sharedRequest } from "../pages/playground/request.js";
import { emptySettings, emptyTool, FIELDS, keep, kept, NUMBERS, type Settings } from "../pages/playground/settings.js";
import { parseChatRequest } from "../src/chat/request.js";

const ASKED = [{ role: "user" as const, content: "hi" }];
const settings = (set: Partial<Settings>): Settings => ({ ...emptySettings(), ...set });
const refusal = (act: () => unknown): InvalidRequestError => {
  try {
    act();
  } catch (error) {
    if (error instanceof InvalidRequestError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
};
const WEATHER = { name: " get_weather ", description: "", parameters: '{"type": "object"}', result: "fine" };

describe("requests", () => {
  it("leaves out what is empty", () => {
    expect(chatRequest(emptySettings(), ASKED)).toEqual({ messages: ASKED });
  });

  it("has what is set", () => {
    const set = settings({
      system: "Be brief.",
      temperature: " 0 ",
      top_k: "40",
      seed: "-7",
      stop: "END\n\\n\\n\n\\\\n",
      format: "json_schema",
      schema: '{"type": "object"}',
      tools: [WEATHER],
      tool_choice: "function:get_weather",
      single: "on",
      logprobs: "on",
    });
    const request = chatRequest(set, ASKED);
    expect(request).toEqual({
      messages: [{ role: "system", content: "Be brief." }, ...ASKED],
      temperature: 0,
      top_k: 40,
      seed: -7,
      stop: ["END", "\n\n", "\\n"],
      response_format: { type: "json_schema", json_schema: { name: "answer", schema: { type: "object" } } },
      tools: [{ type: "function", function: { name: "get_weather", parameters: { type: "object" } } }],
      tool_choice: { type: "function", function: { name: "get_weather" } },
      parallel_tool_calls: false,
      logprobs: true,
      top_logprobs: 5,
    });
    expect(() => parseChatRequest(request, { vocabSize: 100 })).not.toThrow();
  });

  it("has no choice of tools without tools, and completions have neither", () => {
    expect(chatRequest(settings({ tool_choice: "required", single: "on" }), ASKED)).toEqual({ messages: ASKED });
    expect(sharedRequest(settings({ tools: [WEATHER], system: "x", min_p: "0.1" }))).toEqual({ min_p: 0.1 });
  });

  it.each(["text", "json_object", "regex", "grammar"])("has the form %s and no other's text", (format) => {
    const set = settings({ format, schema: "no JSON {", regex: "a+", grammar: 'root ::= "a"' });
    const { response_format: form } = chatRequest(set, ASKED);
    const own = { regex: { regex: "a+" }, grammar: { grammar: 'root ::= "a"' } }[format];
    expect(form).toEqual(format === "text" ? undefined : { type: format, ...own });
  });
});

describe("refusals", () => {
  const bad = ["none at all", "1e999", "-1e9", "0x", "1,5"];
  it.each(NUMBERS.flatMap((name) => bad.map((text) => [name, text] as const)))(
    "%s of %s is the engine's",
    (name, text) => {
      const set = settings({ [name]: text });
      if (name === "seed" && text === "-1e9") return; // which is a seed
      const error = refusal(() => parseChatRequest(chatRequest(set, ASKED), { vocabSize: 100 }));
      expect(error.param).toBe(name);
      expect(placeOf(error.param, set)).toBe(name);
    },
  );

  it("finds the field of each refusal", () => {
    const tools = [WEATHER, { ...emptyTool(), name: "b", parameters: "{" }];
    const cases: [Partial<Settings>, string][] = [
      [{ format: "json_schema", schema: "{" }, "schema"],
      [{ format: "json_schema", schema: "" }, "schema"],
      [{ format: "regex" }, "regex"],
      [{ format: "grammar" }, "grammar"],
      [{ format: "yaml" }, "format"],
      [{ tools }, "tools.1.parameters"],
      [{ tools: [WEATHER, emptyTool()] }, "tools.1.name"],
      [{ tools: [WEATHER, WEATHER] }, "tools.1.name"],
      [{ tools: [{ ...WEATHER, parameters: "[]" }] }, "tools.0.parameters"],
      [{ tools: [WEATHER], tool_choice: "function:b" }, "tool_choice"],
      [{ stop: "x\n".repeat(17) }, "stop"],
      [{ logprobs: "on", top_logprobs: "21" }, "top_logprobs"],
    ];
    for (const [set, place] of cases) {
      const all = settings(set);
      const { param } = refusal(() => parseChatRequest(chatRequest(all, ASKED), { vocabSize: 100 }));
      expect(placeOf(param, all), param).toBe(place);
    }
    for (const [param, place] of [
      ["response_format.json_schema.schema.properties.a.uniqueItems", "schema"],
      ["messages[0].content", undefined],
      ["tools[3].function.name", undefined],
      ["constructor", undefined],
      ["prompt", "prompt"],
    ] as const)
      expect(placeOf(param, settings({ format: "json_schema" })), param).toBe(place);
  });

  it("bounds the rounds", () => {
    expect(roundsOf(emptySettings())).toBe(4);
    expect(roundsOf(settings({ rounds: "1" }))).toBe(1);
    for (const rounds of ["0", "1.5", String(MOST_ROUNDS + 1), "many"])
      expect(refusal(() => roundsOf(settings({ rounds }))).param).toBe("rounds");
  });
});

describe("settings", () => {
  const storage = (): Pick<Storage, "getItem" | "setItem" | "removeItem"> & { items: Map<string, string> } => {
    const items = new Map<string, string>();
    return {
      items,
      getItem: (key) => items.get(key) ?? null,
      setItem: (key, value) => void items.set(key, value),
      removeItem: (key) => void items.delete(key),
    };
  };

  it("are kept, and forgotten when they are empty", () => {
    const store = storage();
    expect(kept(() => store)).toBeUndefined();
    const set = settings({ temperature: "hot", tools: [WEATHER] });
    keep(set, () => store);
    expect(kept(() => store)).toEqual(set);
    keep(emptySettings(), () => store);
    expect(store.items.size).toBe(0);
  });

  it("are taken from nothing but text", () => {
    const store = storage();
    const taken = (text: string): Settings | undefined => {
      store.items.set("mlcweb.playground", text);
      return kept(() => store);
    };
    for (const text of ["{", "null", "7", '"x"']) expect(taken(text)).toBeUndefined();
    const odd =
      '{"temperature": 1, "seed": "4", "__proto__": {"top_k": "3"}, "x": "y", "tools": [null, {"name": "a"}]}';
    expect(taken(odd)).toEqual(settings({ seed: "4", tools: [emptyTool(), { ...emptyTool(), name: "a" }] }));
    expect(taken('{"tools": "x"}')).toEqual(emptySettings());
  });

  it("live on where nothing can be kept", () => {
    const none = (): never => {
      throw new Error("SecurityError");
    };
    expect(() => keep(emptySettings(), none)).not.toThrow();
    expect(kept(none)).toBeUndefined();
  });
});

describe("probabilities", () => {
  it("are read at a glance", () => {
    expect([0, -0.0001, -0.02, -2, -4, -9].map(percent)).toEqual(["100.0%", "100.0%", "98%", "14%", "1.8%", "< 0.1%"]);
    expect([" a", "\n\n", "\t", ""].map(visible)).toEqual(["·a", "⏎⏎", "⇥", "(nothing)"]);
  });
});

describe("code", () => {
  const read = (text: string): unknown => new Function(`return (${text})`)();

  it.each([
    [{}],
    [[]],
    [[[], {}, null, true, "x\u2028\n\"'`${"]],
    [{ a: { b: [1, -0.5, 1e21] }, "a-b": 1, "1": 2, "</script>": "</SCRIPT><!--" }],
    [JSON.parse('{"__proto__": {"x": 1}, "constructor": 2}')],
    [{ long: Array.from({ length: 40 }, (_, i) => ({ [`key${i}`]: "word ".repeat(8) })) }],
  ])("writes values that read back", (value) => {
    const text = literal(value);
    expect(read(text)).toEqual(value);
    expect(Object.keys(read(text) as object)).toEqual(Object.keys(value));
    expect(text).not.toMatch(/<\/script|<!--/i);
  });

  it("breaks long values, and no short ones", () => {
    expect(literal({ a: [1, { b: "c" }] })).toBe('{ a: [1, { b: "c" }] }');
    for (const line of literal({ list: Array(30).fill({ key: "value" }) }).split("\n"))
      expect(line.length).toBeLessThan(100);
  });

  const program = (set: Partial<Settings>, rest: Partial<Program> = {}): string =>
    programOf({
      url: "https://models.example/m/",
      queried: false,
      options: { tier: undefined, contextLength: undefined },
      request: chatRequest(settings(set), ASKED),
      results: {},
      rounds: 4,
      ...rest,
    });

  it("has what is set and nothing else", () => {
    expect(program({ temperature: "0.5" })).toBe(
      [
        'import { Engine } from "mlcweb";',
        "",
        'const engine = await Engine.load("https://models.example/m/");',
        "const { choices } = await engine.chat.completions.create({",
        '  messages: [{ role: "user", content: "hi" }],',
        "  temperature: 0.5,",
        "});",
        "console.log(choices[0].message.content);",
        "",
      ].join("\n"),
    );
    const names = FIELDS.filter((name) => name !== "temperature" && name !== "format");
    for (const name of names) expect(program({ temperature: "0.5" })).not.toContain(name);
    expect(program({}, { options: { tier: "base", contextLength: 64 }, queried: true })).toMatch(
      /\/\/ .*query.*\n.*load\("https:\/\/models.example\/m\/", \{ tier: "base", contextLength: 64 \}\)/,
    );
  });

  /** Runs a program with an engine whose answers are given. */
  async function run(
    text: string,
    answers: object[],
  ): Promise<{ asked: Record<string, unknown>[]; printed: unknown[] }> {
    const asked: Record<string, unknown>[] = [];
    const printed: unknown[] = [];
    const create = async (request: object): Promise<object> => {
      asked.push(structuredClone(request) as Record<string, unknown>);
      return { choices: [answers[asked.length - 1]] };
    };
    const Engine = { load: async () => ({ chat: { completions: { create } }, completions: { create } }) };
    const body = text.replace(/^import .*\n/, "");
    const main = new Function("Engine", "console", `return (async () => {${body}})()`);
    await main(Engine, { log: (value: unknown) => printed.push(value) });
    return { asked, printed };
  }

  it("runs a completion", async () => {
    const text = program({}, { request: { prompt: "Once\n", max_tokens: 4 } });
    const { asked, printed } = await run(text, [{ text: " upon" }]);
    expect(asked).toEqual([{ prompt: "Once\n", max_tokens: 4 }]);
    expect(printed).toEqual([" upon"]);
  });

  it("runs rounds of calls", async () => {
    const set = { tools: [WEATHER], tool_choice: "required", seed: "1" };
    const call = { id: "123456789", type: "function", function: { name: "get_weather", arguments: "{}" } };
    const calling = { message: { role: "assistant", content: null, tool_calls: [call] }, finish_reason: "tool_calls" };
    const said = { message: { role: "assistant", content: "Fine." }, finish_reason: "stop" };
    const text = program(set, { results: { get_weather: "fine" } });
    const { asked } = await run(text, [calling, said]);
    expect(asked.map(({ tool_choice }) => tool_choice)).toEqual(["required", "auto"]);
    expect(asked[1]!.messages).toEqual([
      ...ASKED,
      calling.message,
      { role: "tool", tool_call_id: "123456789", content: "fine" },
    ]);
    expect((await run(text, Array(9).fill(calling))).asked.length).toBe(4);
  });
});
