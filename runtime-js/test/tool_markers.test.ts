// Markers that are special tokens: readers see them, and words have no others.
/// <reference types="vite/client" />
import { describe, expect, it } from "vitest";
import { StreamDecoder, TextCodec } from "../src/text/index.js";
import { AnswerReader, markersOf } from "../src/tools/index.js";
import { SYNTAXES } from "./tool_syntaxes.js";

const fixtures = import.meta.glob<{ tokenizer: unknown }>("../../tests/fixtures/text/tokenizers/*.json", {
  eager: true,
  import: "default",
});
const codecOf = (name: string): TextCodec =>
  TextCodec.parse(JSON.stringify(fixtures[`../../tests/fixtures/text/tokenizers/${name}.json`]!.tokenizer), "{}");

const { hermes, llama, mistral, mistralArgs } = SYNTAXES;
const CASES = [
  ["mistral", mistral, '[TOOL_CALLS] [{"name": "now", "arguments": {"zone": "CET"}}]', "[/INST]", ["[TOOL_CALLS]"]],
  ["mistral", mistralArgs, '[TOOL_CALLS]now[ARGS]{"zone": "CET"}', "[INST]", ["[TOOL_CALLS]"]],
  ["llama3", llama, '<|python_tag|>{"name": "now", "parameters": {"zone": "CET"}}', "<|eom_id|>", ["<|python_tag|>"]],
  ["qwen2", hermes, '<tool_call>\n{"name": "now", "arguments": {"zone": "CET"}}\n</tool_call>', "<|im_end|>", []],
] as const;

describe("special tokens", () => {
  it.each(CASES)("of %s are seen by the reader alone", (name, calls, text, other, markers) => {
    const codec = codecOf(name);
    const shown = codec.specialsIn(markersOf({ tool_calls: calls }));
    expect([...shown.values()]).toEqual(markers);
    expect([...shown.keys()].map((id) => codec.token(id))).toEqual(markers);
    const tokens = codec.encode(`I look.${other}${text}`, false);
    expect(codec.decode(tokens)).not.toContain(other);
    const decoder = new StreamDecoder((ids) => codec.decode(ids, shown));
    const reader = new AnswerReader({ calls, tools: new Map([["now", {}]]) });
    let content = "";
    let json = "";
    const add = ({ content: words, calls: deltas }: ReturnType<AnswerReader["push"]>): void => {
      content += words;
      json += deltas.map((delta) => delta.arguments).join("");
    };
    for (const token of tokens) add(reader.push(decoder.push(token)));
    add(reader.push(decoder.flush()));
    add(reader.end());
    expect([content.trim(), reader.calls, JSON.parse(json)]).toEqual(["I look.", 1, { zone: "CET" }]);
  });
});
