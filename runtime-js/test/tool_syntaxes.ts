// The syntaxes of tool calls that the compiler finds in templates (tests/unit/test_answer_syntax.py).
import type { ToolCallSyntax } from "../src/contract/index.js";

const hermes: ToolCallSyntax = {
  form: "json",
  tools: "template",
  turns: "template",
  begin: "",
  call_begin: "<tool_call>\n",
  call_end: "\n</tool_call>",
  separator: "\n",
  end: "",
  name_key: "name",
  arguments_key: "arguments",
};
const { name_key: _, arguments_key: __, ...bare } = hermes;
const named: ToolCallSyntax = { ...bare, form: "named-json", call_begin: "[TOOL_CALLS]", call_end: "", separator: "" };
const listed = { ...hermes, call_begin: "", call_end: "", separator: ", " };
const { separator: ___, ...alone } = { ...listed, prefix: "<|python_tag|>", arguments_key: "parameters" };
const wide = (text: string): string => text.replaceAll("|", "\uff5c");
const deepseek: ToolCallSyntax = {
  ...named,
  begin: wide("<|tool▁calls▁begin|>"),
  call_begin: wide("<|tool▁call▁begin|>function<|tool▁sep|>"),
  name_end: "\n```json\n",
  call_end: wide("\n```<|tool▁call▁end|>"),
  separator: "\n",
  end: wide("<|tool▁calls▁end|>"),
};

export const SYNTAXES = {
  hermes,
  llama: alone as ToolCallSyntax,
  mistral: { ...listed, begin: "[TOOL_CALLS] [", end: "]" } as ToolCallSyntax,
  mistralArgs: { ...named, name_end: "[ARGS]" } as ToolCallSyntax,
  phi4: { ...listed, begin: "<|tool_call|>[", end: "]<|/tool_call|>" } as ToolCallSyntax,
  functools: { ...listed, begin: "functools[", end: "]" } as ToolCallSyntax,
  deepseek,
  deepseek31: {
    ...deepseek,
    call_begin: wide("<|tool▁call▁begin|>"),
    name_end: wide("<|tool▁sep|>"),
    call_end: wide("<|tool▁call▁end|>"),
    separator: "",
  } as ToolCallSyntax,
  pythonic: {
    ...bare,
    form: "pythonic",
    begin: "[",
    call_begin: "",
    call_end: "",
    separator: ", ",
    end: "]",
  } as ToolCallSyntax,
  coder: {
    ...bare,
    form: "tagged",
    call_begin: "<tool_call>\n<function=",
    name_end: ">\n",
    key_begin: "<parameter=",
    key_end: ">\n",
    value_end: "\n</parameter>\n",
    call_end: "</function>\n</tool_call>",
  } as ToolCallSyntax,
  glm: {
    ...bare,
    form: "tagged",
    call_begin: "<tool_call>",
    name_end: "",
    key_begin: "<arg_key>",
    key_end: "</arg_key>\n<arg_value>",
    value_end: "</arg_value>",
    call_end: "</tool_call>",
  } as ToolCallSyntax,
};
