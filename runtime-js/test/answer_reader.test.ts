// Answers in every syntax, in one piece and in every two: what is read is the same.
import { describe, expect, it } from "vitest";
import { AnswerReader, type Parts, type ReaderOptions } from "../src/tools/index.js";
import { BAD, called, GOOD, hermesNow, NOW, type Read, words } from "./tool_answers.js";
import { SYNTAXES } from "./tool_syntaxes.js";

const TOOLS = new Map<string, object>([
  ["get_weather", { type: "object", properties: { city: { type: "string" }, days: { type: "integer" } } }],
  ["now", {}],
]);
function read(pieces: readonly string[], options: ReaderOptions): Read {
  const reader = new AnswerReader({ tools: TOOLS, ...options });
  const whole: Read = { content: "", reasoning: "", calls: [] };
  const ids = new Set<string>();
  const add = ({ content, reasoning, calls }: Parts): void => {
    whole.content += content;
    whole.reasoning += reasoning;
    for (const call of calls) {
      if (call.id !== undefined) {
        expect(call.index).toBe(whole.calls.length);
        expect(call.id).toMatch(/^[A-Za-z0-9]{9}$/);
        expect(ids.has(call.id)).toBe(false);
        ids.add(call.id);
        whole.calls.push([call.name!, ""]);
      }
      whole.calls[call.index]![1] += call.arguments;
    }
  };
  for (const piece of pieces) add(reader.push(piece));
  add(reader.end());
  expect(reader.calls).toBe(whole.calls.length);
  return whole;
}

const { hermes } = SYNTAXES;

/** A small seeded generator of numbers in [0, 1). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 0) / 2 ** 32;
  };
}

/** The text read whole; it must be the same however it is cut. */
function readCut(text: string, options: ReaderOptions): Read {
  const whole = read([text], options);
  for (let at = 1; at < text.length; at++)
    expect(read([text.slice(0, at), text.slice(at)], options), `cut at ${at}`).toEqual(whole);
  expect(read([...text], options)).toEqual(whole);
  const next = random(text.length);
  for (let round = 0; round < 20; round++) {
    const pieces: string[] = [];
    for (let at = 0; at < text.length; ) {
      const end = at + 1 + Math.floor(next() * 9);
      pieces.push(text.slice(at, end));
      at = end;
    }
    expect(read(pieces, options)).toEqual(whole);
  }
  return whole;
}

describe("an answer with tools", () => {
  it.each(GOOD)("%s", (_, calls, text, expected) => expect(readCut(text, { calls })).toEqual(expected));
  it.each(BAD)("%s", (_, calls, text, expected) => expect(readCut(text, { calls })).toEqual(expected));

  it("is words where no tools are given", () => {
    const text = hermesNow;
    expect(readCut(text, {})).toEqual(words(text));
    expect(readCut(text, { calls: hermes, tools: new Map() })).toEqual(words(text));
  });
  it("ends after one call where one is wanted", () => {
    const reader = new AnswerReader({ calls: hermes, tools: TOOLS, single: true });
    reader.push(`a${hermesNow.slice(0, -1)}`);
    expect(reader.done).toBe(false);
    reader.push(`>${hermesNow}`);
    expect([reader.done, reader.calls]).toEqual([true, 1]);
  });
  it("streams arguments as they come", () => {
    const reader = new AnswerReader({ calls: hermes, tools: TOOLS });
    const first = reader.push('<tool_call>{"name": "get_weather", "arguments": {"ci');
    expect(first.calls).toMatchObject([{ index: 0, name: "get_weather", arguments: '{"ci' }]);
    expect(reader.push('ty": "W').calls).toEqual([{ index: 0, arguments: 'ty": "W' }]);
  });
  it("shows an object that is no call as soon as its first key says so", () => {
    const reader = new AnswerReader({ calls: SYNTAXES.llama, tools: TOOLS });
    expect(reader.push('{"users": [').content).toBe('{"users": [');
    expect(reader.push('{"name": "Bo').content).toBe("");
    expect(reader.push('b", ').content).toBe('{"name": "Bob",');
  });
  it("is not slow for quotes and braces without end", () => {
    for (const calls of Object.values(SYNTAXES)) {
      const text = '{"name": "now", "parameters": "{"'.repeat(300);
      const reader = new AnswerReader({ calls, tools: TOOLS });
      const parts = [...text].map((piece) => reader.push(piece));
      expect([...parts, reader.end()].map(({ content }) => content).join("")).toBe(text);
    }
  });
  it("shows words at once, but for what may begin a marker", () => {
    const reader = new AnswerReader({ calls: hermes, tools: TOOLS });
    expect(reader.push("a < b").content).toBe("a < b");
    expect(reader.push(" <tool").content).toBe("");
    expect(reader.push("s").content).toBe(" <tools");
  });
});

describe("an answer with reasoning", () => {
  const reasoning = { begin: "<think>", end: "</think>" };
  const THOUGHTS: [string, string, boolean, Read][] = [
    ["none", "Hi <think>", false, words("Hi <think>")],
    ["some", "<think>\nHm. <b>\n</think>\n\nHi", false, { ...words("Hi"), reasoning: "Hm. <b>" }],
    ["begun by the prompt", "\nHm.\n</think>\n\nHi\n", true, { ...words("Hi\n"), reasoning: "Hm." }],
    ["begun twice", "<think>\nHm.</think>Hi", true, { ...words("Hi"), reasoning: "Hm." }],
    ["empty", "<think>\n\n</think>\n\nHi", false, words("Hi")],
    ["that does not end", "<think>Hm. </thin", false, { ...words(""), reasoning: "Hm. </thin" }],
    ["that does not end, begun by the prompt", "Hm", true, { ...words(""), reasoning: "Hm" }],
    ["and no words", "<think>Hm</think>\n", false, { ...words(""), reasoning: "Hm" }],
    ["half begun", "<thi", false, words("<thi")],
    [
      "and calls, not of what was only thought of",
      `<think>${hermesNow}</think>\n\nSo.\n${hermesNow}`,
      false,
      { ...called(NOW), content: "So.", reasoning: hermesNow },
    ],
  ];
  it.each(THOUGHTS)("%s", (_, text, opened, expected) =>
    expect(readCut(text, { calls: hermes, reasoning, opened })).toEqual(expected),
  );
  it("says whether it is reasoning", () => {
    const reader = new AnswerReader({ reasoning });
    expect(reader.reasoning).toBe(false);
    reader.push("<think>");
    expect(reader.reasoning).toBe(true);
    reader.push("a</think>");
    expect(reader.reasoning).toBe(false);
    expect(new AnswerReader({ reasoning, opened: true }).reasoning).toBe(true);
  });
});

describe("an answer of anything", () => {
  it.each(Object.entries(SYNTAXES))("loses nothing and repeats nothing (%s)", (_, calls) => {
    const pieces = [
      ...[calls.begin, calls.call_begin, calls.call_end, calls.end, calls.separator ?? ""],
      ...[
        '{"name": "',
        "get_weather",
        "now",
        '", "arguments": ',
        '{"city": ',
        '"Wien"',
        "}",
        "]",
        "[",
        "(",
        ")",
        "'",
        '"',
      ],
      ...["\\", ", ", "\n", " ", "ok", "<think>", "</think>", "=", calls.name_end ?? "", calls.key_begin ?? "", "ü"],
    ].filter((piece) => piece !== "");
    const next = random(7);
    for (let round = 0; round < 60; round++) {
      const text = Array.from(
        { length: 1 + Math.floor(next() * 16) },
        () => pieces[Math.floor(next() * pieces.length)],
      ).join("");
      const options = { calls, reasoning: { begin: "<think>", end: "</think>" } };
      const whole = readCut(text, options);
      // Without calls and reasoning it is the text.
      if (whole.calls.length === 0 && whole.reasoning === "" && !/^\s*<think>/.test(text))
        expect(whole.content).toBe(text);
    }
  });
});
