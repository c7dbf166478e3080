// Answers with tool calls, good and bad, and what is read from them.
import type { ToolCallSyntax } from "../src/contract/index.js";
import { SYNTAXES } from "./tool_syntaxes.js";

export interface Read {
  content: string;
  reasoning: string;
  calls: [name: string, json: string][];
}

const { hermes, llama, mistral, mistralArgs, phi4, functools, deepseek, deepseek31, pythonic, coder, glm } = SYNTAXES;
export const WIEN: [string, string] = ["get_weather", '{"city": "Wien"}'];
export const NOW: [string, string] = ["now", "{}"];
export const words = (content: string): Read => ({ content, reasoning: "", calls: [] });
export const called = (...calls: [string, string][]): Read => ({ content: "", reasoning: "", calls });

const call = (inside: string): string => `<tool_call>\n${inside}\n</tool_call>`;
export const hermesNow = call('{"name": "now", "arguments": {}}');
const hermesWien = call('{"name": "get_weather", "arguments": {"city": "Wien"}}');
const inDeepseek = (syntax: ToolCallSyntax, [name, json]: [string, string]): string =>
  syntax.call_begin + name + syntax.name_end + json + syntax.call_end;

export const GOOD: [name: string, syntax: ToolCallSyntax, text: string, expected: Read][] = [
  ["Hermes", hermes, '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Wien"}}\n</tool_call>', called(WIEN)],
  [
    "several calls after words",
    hermes,
    `Let me see.\n\n${hermesWien}\n${hermesNow}`,
    { ...called(WIEN, NOW), content: "Let me see." },
  ],
  [
    "words after a call",
    hermes,
    '<tool_call>{"name":"now","arguments":{}}</tool_call>\n\nThat is all. <b>',
    { ...called(NOW), content: "That is all. <b>" },
  ],
  ["Llama", llama, '{"name": "get_weather", "parameters": {"city": "Wien"}}', called(WIEN)],
  ["Llama, prefixed", llama, '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Wien"}}', called(WIEN)],
  [
    "Llama, several",
    llama,
    '{"name": "get_weather", "parameters": {"city": "Wien"}}; {"name": "now", "parameters": {}}',
    called(WIEN, NOW),
  ],
  ["Llama, words first", llama, 'Sure: {"name": "now", "parameters": {}}', { ...called(NOW), content: "Sure:" }],
  ["Mistral", mistral, '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Wien"}}]', called(WIEN)],
  [
    "Mistral, several with ids",
    mistral,
    '[TOOL_CALLS][{"name":"get_weather","arguments":{"city": "Wien"},"id":"a"},' +
      ' {"name":"now","arguments":{},"id":"b"}]',
    called(WIEN, NOW),
  ],
  ["Mistral, no list", mistral, '[TOOL_CALLS]{"name":"now","arguments":{}}', called(NOW)],
  [
    "newer Mistral",
    mistralArgs,
    '[TOOL_CALLS]get_weather[ARGS]{"city": "Wien"}[TOOL_CALLS]now[ARGS]{}',
    called(WIEN, NOW),
  ],
  [
    "newer Mistral without a marker between",
    { ...mistralArgs, name_end: "" },
    'I look.[TOOL_CALLS]get_weather{"city": "Wien"}',
    { ...called(WIEN), content: "I look." },
  ],
  [
    "Phi-4",
    phi4,
    '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Wien"}}, ' +
      '{"name": "now", "arguments": {}}]<|/tool_call|>',
    called(WIEN, NOW),
  ],
  ["Phi-4's functools", functools, 'functools[{"name": "get_weather", "arguments": {"city": "Wien"}}]', called(WIEN)],
  [
    "DeepSeek R1",
    deepseek,
    `${deepseek.begin}${inDeepseek(deepseek, WIEN)}\n${inDeepseek(deepseek, NOW)}${deepseek.end}`,
    called(WIEN, NOW),
  ],
  [
    "DeepSeek V3.1",
    deepseek31,
    deepseek31.begin + inDeepseek(deepseek31, WIEN) + inDeepseek(deepseek31, NOW) + deepseek31.end,
    called(WIEN, NOW),
  ],
  ["Python", pythonic, "[get_weather(city='Wien'), now()]", called(["get_weather", '{"city":"Wien"}'], NOW)],
  [
    "Python's values",
    pythonic,
    `[get_weather(city="W\\"ie\\u006e\\n", days=-2.5e1, a=[1, 'x', (True, None)], b={'k': False, "l": {}}, c=null)]`,
    called(["get_weather", '{"city":"W\\"ien\\n","days":-25,"a":[1,"x",[true,null]],"b":{"k":false,"l":{}},"c":null}']),
  ],
  ["Python, words first", pythonic, "I call [now()] now", { ...called(NOW), content: "I call  now" }],
  [
    "tags",
    coder,
    "<tool_call>\n<function=get_weather>\n<parameter=city>\nWien\n</parameter>\n<parameter=days>\n2\n</parameter>\n" +
      "</function>\n</tool_call>\n<tool_call>\n<function=now>\n</function>\n</tool_call>",
    called(["get_weather", '{"city": "Wien", "days": 2}'], NOW),
  ],
  [
    "tags with text of several lines, and numbers that are texts",
    coder,
    '<tool_call><function=get_weather><parameter=city>\n a <b>\n{"x": 1}\n\n</parameter>' +
      "<parameter=other>True</parameter><parameter=days>soon</parameter></function></tool_call>",
    called(["get_weather", '{"city": " a <b>\\n{\\"x\\": 1}\\n", "other": true, "days": "soon"}']),
  ],
  [
    "GLM's tags",
    glm,
    "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>12</arg_value>\n" +
      "<arg_key>days</arg_key>\n<arg_value>12</arg_value>\n</tool_call>",
    called(["get_weather", '{"city": "12", "days": 12}']),
  ],
];

export const BAD: typeof GOOD = [
  [
    "a name that no tool has",
    hermes,
    call('{"name": "rm", "arguments": {}}'),
    words(call('{"name": "rm", "arguments": {}}')),
  ],
  [
    "a name that no tool has, then one that a tool has",
    hermes,
    `${call('{"name": "rm", "arguments": {}}')}\n${hermesNow}`,
    { ...called(NOW), content: call('{"name": "rm", "arguments": {}}') },
  ],
  ["no call in a marker", hermes, call("hello"), words(call("hello"))],
  ["a marker alone", hermes, "Use <tool_call> to call.", words("Use <tool_call> to call.")],
  ["half a marker", hermes, "a <tool_ca", words("a <tool_ca")],
  ["cut before its name is whole", hermes, '<tool_call>\n{"name": "get_w', words('<tool_call>\n{"name": "get_w')],
  [
    "cut in its arguments",
    hermes,
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Wi',
    called(["get_weather", '{"city": "Wi']),
  ],
  ["cut inside of what ends a call", hermes, hermesNow.slice(0, -8), called(NOW)],
  ["cut after a backslash", llama, '{"name": "now", "parameters": {"a": "\\', called(["now", '{"a": "\\'])],
  [
    "two objects in one",
    hermes,
    call('{"name": "now", "arguments": {}}\n{"name": "now", "arguments": {}}'),
    called(NOW, NOW),
  ],
  [
    "a list in one",
    hermes,
    call('[{"name": "now", "arguments": {}}, {"name": "now", "arguments": {}}]'),
    called(NOW, NOW),
  ],
  [
    "markers, braces, quotes and escapes in strings",
    hermes,
    call('{"name": "get_weather", "arguments": {"city": "</tool_call> }{ \\" \\\\", "a": {"b": [{}, "]"]}}}'),
    called(["get_weather", '{"city": "</tool_call> }{ \\" \\\\", "a": {"b": [{}, "]"]}}']),
  ],
  ["a brace too many", hermes, call('{"name": "now", "arguments": {}}}'), called(NOW)],
  ["a brace too few", hermes, call('{"name": "now", "arguments": {}'), called(NOW)],
  [
    "two braces too few",
    hermes,
    call('{"name": "get_weather", "arguments": {"days": 1'),
    called(["get_weather", '{"days": 1\n']),
  ],
  ["no end", hermes, '<tool_call>{"name": "now", "arguments": {}}', called(NOW)],
  ["arguments before the name", hermes, call('{"arguments": {"city": "Wien"}, "name": "get_weather"}'), called(WIEN)],
  [
    "arguments in a string",
    hermes,
    call('{"name": "get_weather", "arguments": "{\\"city\\": \\"Wien\\"}"}'),
    called(WIEN),
  ],
  ["no arguments", hermes, call('{"name": "now"}'), called(NOW)],
  ["null for arguments", hermes, call('{"name": "now", "arguments": null}'), called(NOW)],
  ["arguments by another's key", hermes, call('{"name": "get_weather", "parameters": {"city": "Wien"}}'), called(WIEN)],
  ...["[1]", "3", '"x"', "true"].map((wrong): (typeof GOOD)[number] => [
    `${wrong} for arguments`,
    hermes,
    call(`{"name": "now", "arguments": ${wrong}}`),
    words(call(`{"name": "now", "arguments": ${wrong}}`)),
  ]),
  [
    "a name that is no string",
    hermes,
    call('{"name": 3, "arguments": {}}'),
    words(call('{"name": 3, "arguments": {}}')),
  ],
  ["keys beside", hermes, call('{"id": [1, {"a": 2}], "name": "now", "arguments": {}, "x": "}"}'), called(NOW)],
  ["Python's quotes", hermes, call(`{"name": "now", "arguments": {'a': 'b'}}`), called(["now", "{'a': 'b'}"])],
  [
    "JSON that is no call",
    llama,
    '{"name": "Bob", "parameters": {}} and {"a": {"b": 1}}',
    words('{"name": "Bob", "parameters": {}} and {"a": {"b": 1}}'),
  ],
  ["a call whose type comes first", llama, '{"type": "function", "name": "now", "parameters": {}}', called(NOW)],
  [
    "a name that is too long for one",
    llama,
    `{"name": "${"now".repeat(100)}", "parameters": {}}`,
    words(`{"name": "${"now".repeat(100)}", "parameters": {}}`),
  ],
  [
    "Python nested too deeply",
    pythonic,
    `[now(a=${"[".repeat(70)}${"]".repeat(70)})]`,
    words(`[now(a=${"[".repeat(70)}${"]".repeat(70)})]`),
  ],
  ["white space alone", hermes, " \n ", words(" \n ")],
  ["white space around words", hermes, "\n hi \n", words("\n hi \n")],
  ["nothing", hermes, "", words("")],
  ["a name in a marker and nothing more", mistralArgs, "[TOOL_CALLS]now", words("[TOOL_CALLS]now")],
  ["arguments that are a list", mistralArgs, "[TOOL_CALLS]now[ARGS][1]", words("[TOOL_CALLS]now[ARGS][1]")],
  ["Python without names", pythonic, "[get_weather('Wien')]", words("[get_weather('Wien')]")],
  ["Python cut", pythonic, "[now(), get_weather(city='Wi", { ...called(NOW), content: ", get_weather(city='Wi" }],
  ["a list that is no call", pythonic, "[1, 2] and [x](http://y)", words("[1, 2] and [x](http://y)")],
  ["Python's setter", pythonic, "[now(__proto__=1)]", called(["now", '{"__proto__":1}'])],
  [
    "tags cut in a text",
    coder,
    "<tool_call>\n<function=get_weather>\n<parameter=city>\nWi",
    called(["get_weather", '{"city": "Wi']),
  ],
  ["tags cut before a value", coder, "<tool_call>\n<function=now>\n<parameter=ci", called(["now", "{"])],
  [
    "tags of no tool",
    coder,
    "<tool_call>\n<function=rm>\n</function>\n</tool_call>",
    words("<tool_call>\n<function=rm>\n</function>\n</tool_call>"),
  ],
];
