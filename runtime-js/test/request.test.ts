import { describe, expect, it } from "vitest";
import { type ChatRequest, parseChatRequest, parseCompletionRequest, parseSampling } from "../src/chat/index.js";
import { InvalidRequestError } from "../src/errors.js";

const FACTS = { vocabSize: 16 };

const messages = [{ role: "user", content: "hi" }];
const BAD: [param: string, request: Record<string, unknown>][] = [
  ["messages", {}],
  ["messages", { messages: [] }],
  ["messages", { messages: "hi" }],
  ["messages[0].role", { messages: [{ role: "robot", content: "x" }] }],
  ["messages[0].role", { messages: [null] }],
  ["messages[0].content", { messages: [{ role: "user", content: 3 }] }],
  ["messages[0].content[0]", { messages: [{ role: "user", content: [{ type: "input_audio", input_audio: {} }] }] }],
  ["temperature", { messages, temperature: -0.1 }],
  ["temperature", { messages, temperature: NaN }],
  ["temperature", { messages, temperature: "hot" }],
  ["top_p", { messages, top_p: 1.5 }],
  ["top_k", { messages, top_k: 1.5 }],
  ["min_p", { messages, min_p: 2 }],
  ["max_tokens", { messages, max_tokens: 0 }],
  ["max_completion_tokens", { messages, max_completion_tokens: -1 }],
  ["n", { messages, n: 0 }],
  ["seed", { messages, seed: 0.5 }],
  ["stop", { messages, stop: [""] }],
  ["stop", { messages, stop: 7 }],
  ["stop", { messages, stop: Array(17).fill("x") }],
  ["frequency_penalty", { messages, frequency_penalty: 3 }],
  ["repetition_penalty", { messages, repetition_penalty: 0 }],
  ["logit_bias", { messages, logit_bias: { 16: 1 } }],
  ["logit_bias", { messages, logit_bias: { x: 1 } }],
  ["logit_bias", { messages, logit_bias: { 1: 101 } }],
  ["logprobs", { messages, logprobs: 1 }],
  ["top_logprobs", { messages, top_logprobs: 2 }],
  ["top_logprobs", { messages, logprobs: true, top_logprobs: 21 }],
  ["stream", { messages, stream: "yes" }],
  ["stream_options", { messages, stream_options: { include_usage: true } }],
  ["stream_options", { messages, stream: true, stream_options: "usage" }],
  ["stream_options.include_usage", { messages, stream: true, stream_options: { include_usage: "yes" } }],
  ["stream_options.include_obfuscation", { messages, stream: true, stream_options: { include_obfuscation: true } }],
  ["stream_options.every", { messages, stream: true, stream_options: { every: 2 } }],
  ["signal", { messages, signal: {} }],
  ["tools", { messages, tools: {} }],
  ["tools[0]", { messages, tools: [{}] }],
  [
    "tools[1].function.name",
    {
      messages,
      tools: [
        { type: "function", function: { name: "a" } },
        { type: "function", function: {} },
      ],
    },
  ],
  [
    "tools[0].function.parameters",
    { messages, tools: [{ type: "function", function: { name: "a", parameters: [] } }] },
  ],
  ["tool_choice", { messages, tool_choice: "required" }],
  ["tool_choice", { messages, tool_choice: { type: "function", function: { name: "a" } } }],
  ["tool_choice", { messages, tool_choice: "any" }],
  ["tool_choice", { messages, tool_choice: { type: "function" } }],
  [
    "tool_choice",
    {
      messages,
      tools: [{ type: "function", function: { name: "a" } }],
      tool_choice: { type: "function", function: { name: "b" } },
    },
  ],
  [
    "tools[1].function.name",
    {
      messages,
      tools: [
        { type: "function", function: { name: "a" } },
        { type: "function", function: { name: "a" } },
      ],
    },
  ],
  ["tools[0].function.strict", { messages, tools: [{ type: "function", function: { name: "a", strict: "yes" } }] }],
  ["parallel_tool_calls", { messages, parallel_tool_calls: "no" }],
  ["thinking_budget", { messages, thinking_budget: -1 }],
  ["chat_template_kwargs", { messages, chat_template_kwargs: [] }],
  ["extra_body", { messages, extra_body: true }],
  ["extra_body.enable_thinking", { messages, extra_body: { enable_thinking: "no" } }],
  ["extra_body.other", { messages, extra_body: { other: 1 } }],
  ["messages[0].content", { messages: [{ role: "assistant", content: null }] }],
  ["messages[0].name", { messages: [{ role: "user", content: "x", name: 3 }] }],
  ["messages[0].tool_calls", { messages: [{ role: "user", content: "x", tool_calls: [{ function: { name: "a" } }] }] }],
  ["messages[0].tool_calls", { messages: [{ role: "assistant", content: "", tool_calls: "a" }] }],
  ["messages[0].tool_calls[0].function.name", { messages: [{ role: "assistant", tool_calls: [{}] }] }],
  [
    "messages[0].tool_calls[0].id",
    { messages: [{ role: "assistant", tool_calls: [{ id: 3, function: { name: "a" } }] }] },
  ],
  [
    "messages[0].tool_calls[0].function.arguments",
    { messages: [{ role: "assistant", tool_calls: [{ function: { name: "a", arguments: "{" } }] }] },
  ],
  [
    "messages[0].tool_calls[0].function.arguments",
    { messages: [{ role: "assistant", tool_calls: [{ function: { name: "a", arguments: "[]" } }] }] },
  ],
  ["response_format", { messages, response_format: "json" }],
  ["response_format.type", { messages, response_format: { type: "yaml" } }],
  ["response_format.type", { messages, response_format: { type: "__proto__" } }],
  ["response_format.schema", { messages, response_format: { type: "json_object", schema: "{" } }],
  ["response_format.shema", { messages, response_format: { type: "json_object", shema: {} } }],
  ["response_format.json_schema", { messages, response_format: { type: "json_schema" } }],
  [
    "response_format.json_schema.nam",
    { messages, response_format: { type: "json_schema", json_schema: { nam: "x" } } },
  ],
  [
    "response_format.json_schema.strict",
    { messages, response_format: { type: "json_schema", json_schema: { strict: 1 } } },
  ],
  ["response_format.grammar", { messages, response_format: { type: "grammar" } }],
  ["response_format.regex", { messages, response_format: { type: "regex", regex: "" } }],
  ["response_format.schema", { messages, response_format: { type: "regex", regex: "a", schema: {} } }],
  ["response_format.structural_tag", { messages, response_format: { type: "structural_tag", structural_tag: "{" } }],
  ["max_token", { messages, max_token: 5 }],
];

describe("chat request", () => {
  it.each(BAD)("names %s", (param, request) => {
    let error: unknown;
    try {
      parseChatRequest(request, FACTS);
    } catch (e) {
      error = e;
    }
    expect(error).toBeInstanceOf(InvalidRequestError);
    expect((error as InvalidRequestError).param).toBe(param);
  });
  it("takes OpenAI's defaults, nulls and text parts", () => {
    const parsed = parseChatRequest(
      {
        messages: [
          {
            role: "developer",
            content: [
              { type: "text", text: "a" },
              { type: "text", text: "b" },
            ],
          },
        ],
        temperature: null,
        stop: "x",
        max_tokens: null,
      },
      FACTS,
    );
    expect(parsed.messages).toEqual([{ role: "system", content: "ab" }]);
    expect(parsed).toMatchObject({
      stop: ["x"],
      n: 1,
      maxTokens: undefined,
      stream: false,
      sampling: { temperature: 1, topP: 1, topK: 0 },
    });
    expect(parsed.host).toMatchObject({ topLogprobs: undefined, repetitionPenalty: 1 });
  });
  it("hands tools to the template, calls' arguments as objects", () => {
    const tools = [
      {
        type: "function",
        function: { name: "now", description: "The time.", parameters: { type: "object", properties: {} } },
      },
    ];
    const parsed = parseChatRequest(
      {
        tools,
        tool_choice: "auto",
        messages: [
          ...messages,
          {
            role: "assistant",
            content: null,
            tool_calls: [
              { id: "a", type: "function", function: { name: "now", arguments: '{"zone":"CET"}' } },
              { function: { name: "now", arguments: "" } },
            ],
          },
          { role: "tool", content: "12:00", tool_call_id: "a", name: "now" },
        ],
      },
      FACTS,
    );
    expect([parsed.tools.tools, parsed.template]).toEqual([tools, { variables: undefined }]);
    expect(parsed.messages.slice(1)).toEqual([
      {
        role: "assistant",
        content: "",
        tool_calls: [
          { id: "a", type: "function", function: { name: "now", arguments: { zone: "CET" } } },
          { type: "function", function: { name: "now", arguments: {} } },
        ],
      },
      { role: "tool", content: "12:00", tool_call_id: "a", name: "now" },
    ]);
    for (const none of [{ tools, tool_choice: "none" }, { tools: [] }, { tools: null }, {}])
      expect(parseChatRequest({ messages, ...none }, FACTS).tools).toMatchObject({
        tools: none.tools ?? [],
        choice: none.tool_choice ?? "auto",
      });
  });
  it("hands variables to the template", () => {
    expect(
      parseChatRequest({ messages, chat_template_kwargs: { a: 1 }, extra_body: { enable_thinking: false } }, FACTS)
        .template.variables,
    ).toEqual({ a: 1, enable_thinking: false });
    expect(
      parseChatRequest({ messages, chat_template_kwargs: null, extra_body: { enable_thinking: null } }, FACTS).template
        .variables,
    ).toBeUndefined();
  });
  it.each([
    "model",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop",
    "n",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "stream",
    "stream_options",
    "signal",
    "user",
    "metadata",
    "store",
    "response_format",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "chat_template_kwargs",
    "extra_body",
    // of OpenAI's, and not known here
    "audio",
    "function_call",
    "functions",
    "modalities",
    "prediction",
    "prompt_cache_key",
    "reasoning_effort",
    "safety_identifier",
    "service_tier",
    "verbosity",
    "web_search_options",
  ])("takes null for %s as not given", (key) => {
    const { sampling, ...without } = parseChatRequest({ messages, seed: 1 }, FACTS);
    const { sampling: other, ...parsed } = parseChatRequest({ messages, seed: 1, [key]: null }, FACTS);
    expect(parsed).toEqual(without);
    expect({ ...other, seed: key === "seed" ? 1 : other.seed }).toEqual(sampling);
  });
  it.each([
    [{}, undefined],
    [{ type: "text" }, undefined],
    [{ type: "json_object" }, { kind: "schema", schema: { type: "object" }, field: "response_format.schema" }],
    [
      { type: "json_object", schema: '{"type": "array"}' },
      { kind: "schema", schema: { type: "array" }, field: "response_format.schema" },
    ],
    [
      { type: "json_schema", json_schema: { name: "x", strict: true, schema: true } },
      { kind: "schema", schema: true, field: "response_format.json_schema.schema" },
    ],
    [
      { type: "grammar", grammar: "root ::= " },
      { kind: "grammar", grammar: "root ::= ", field: "response_format.grammar" },
    ],
    [
      { type: "regex", regex: "a+" },
      { kind: "regex", regex: "a+", field: "response_format.regex" },
    ],
    [
      { type: "structural_tag", structural_tag: '{"format": {}}' },
      { kind: "tags", tags: { format: {} }, field: "response_format.structural_tag" },
    ],
    [
      { type: "structural_tag", structures: [], triggers: [] },
      { kind: "tags", tags: { type: "structural_tag", structures: [], triggers: [] }, field: "response_format" },
    ],
  ])("says what answers a format %j has", (response_format, format) => {
    expect(parseChatRequest({ messages, response_format }, FACTS).format).toEqual(format);
  });
  it("takes null as not given inside of fields too, but not in a schema", () => {
    const request = {
      messages: [
        { role: "user", content: "hi", name: null, tool_calls: null, tool_call_id: null, refusal: null },
        {
          role: "assistant",
          content: null,
          tool_calls: [{ id: null, type: null, function: { name: "now", arguments: null } }],
        },
      ],
      stream: true,
      stream_options: { include_usage: null, include_obfuscation: null, other: null },
      response_format: { type: null },
      extra_body: { enable_thinking: null, other: null },
      tools: [
        {
          strict: null,
          function: {
            name: "now",
            strict: null,
            description: null,
            parameters: { type: "object", properties: { zone: { enum: ["CET", null], default: null } } },
          },
          type: "function",
        },
      ],
    };
    const parsed = parseChatRequest(request, FACTS);
    expect(parsed).toMatchObject({
      includeUsage: false,
      messages: [
        { role: "user", content: "hi" },
        { content: "", tool_calls: [{ type: "function", function: { name: "now", arguments: {} } }] },
      ],
      template: { variables: undefined },
    });
    // In the order in which they came: templates print them.
    expect(JSON.stringify(parsed.tools.tools)).toBe(
      '[{"function":{"name":"now","parameters":{"type":"object","properties":' +
        '{"zone":{"enum":["CET",null],"default":null}}}},"type":"function"}]',
    );
  });
  it("prefers max_completion_tokens and keeps seeds in 32 bits", () => {
    const parsed = parseChatRequest({ messages, max_tokens: 5, max_completion_tokens: 3, seed: 2 ** 40 + 5 }, FACTS);
    expect([parsed.maxTokens, parsed.sampling.seed]).toEqual([3, 5]);
  });
  it("refuses a chat's fields where there is no chat", () => {
    for (const parse of [parseCompletionRequest, parseSampling])
      expect(() => parse({ prompt: "x", messages }, FACTS)).toThrow(InvalidRequestError);
    expect(() => parseSampling({ max_tokens: 4, prompt: "x" }, FACTS)).toThrow(/^prompt: is not a known/);
    expect(parseSampling({ max_tokens: 4 }, FACTS)).toMatchObject({ maxTokens: 4, continues: false });
  });
  it("checks completions too", () => {
    expect(parseCompletionRequest({ prompt: "x", max_tokens: 4 }, FACTS)).toMatchObject({ prompt: "x", maxTokens: 4 });
    expect(() => parseCompletionRequest({ prompt: "" }, FACTS)).toThrow(InvalidRequestError);
  });
});

describe("a bundle's sampling", () => {
  const generation = { temperature: 0.6, top_p: 0.95, top_k: 20, repetition_penalty: 1.05 };
  const facts = { vocabSize: 16, generation };
  const messages = [{ role: "user", content: "x" }];

  it("is what a request gets that does not say", () => {
    const unsaid = { temperature: null, top_p: null, top_k: null, repetition_penalty: null };
    for (const request of [{}, unsaid]) {
      const { sampling, host } = parseChatRequest({ messages, ...request }, facts);
      expect(sampling).toMatchObject({ temperature: 0.6, topP: 0.95, topK: 20 });
      expect(host.repetitionPenalty).toBe(1.05);
    }
    expect(parseCompletionRequest({ prompt: "x" }, facts).sampling.temperature).toBe(0.6);
    expect(parseSampling({}, facts).sampling.topK).toBe(20);
  });

  it("gives way to what a request says, also to what is off", () => {
    const off = { temperature: 0, top_p: 1, top_k: 0, repetition_penalty: 1 };
    const { sampling, host } = parseChatRequest({ messages, ...off }, facts);
    expect(sampling).toMatchObject({ temperature: 0, topP: 1, topK: 0 });
    expect(host.repetitionPenalty).toBe(1);
  });

  it("may be a part, and the rest is as without", () => {
    for (const [some, temperature, topP] of [
      [{ temperature: 0.5 }, 0.5, 1],
      [{}, 1, 1],
      [undefined, 1, 1],
    ] as const) {
      const { sampling, host } = parseSampling({}, { vocabSize: 16, generation: some });
      expect(sampling).toMatchObject({ temperature, topP, topK: 0 });
      expect(host.repetitionPenalty).toBe(1);
    }
  });
});

it("what is accepted and ignored is in the types too", () => {
  const ignored: ChatRequest = { messages: [{ role: "user", content: "x" }], model: "m", user: "u", store: true };
  ignored.metadata = { any: 1 };
  expect(parseChatRequest(ignored, FACTS).messages.length).toBe(1);
});
