// Writes the playground's request as a program for mlcweb.
import type { ChatRequest, CompletionRequest } from "mlcweb";
import { literal } from "./literal.js";

export interface Program {
  /** The bundle's URL, without its query. */
  readonly url: string;
  /** It had one, which may be secret. */
  readonly queried: boolean;
  /** The load's options, those that are set. */
  readonly options: Readonly<Record<string, string | number | undefined>>;
  readonly request: ChatRequest | CompletionRequest;
  /** What each tool returns, by its name, and how often the model may be asked. */
  readonly results: Readonly<Record<string, string>>;
  readonly rounds: number;
}

/** Room that is left in the line of a call. */
const BESIDE = 40;

export function programOf(program: Program): string {
  const { url, queried, options, request } = program;
  const set = Object.entries(options).filter(([, value]) => value !== undefined);
  const given = set.length > 0 ? `, ${literal(Object.fromEntries(set))}` : "";
  return [
    'import { Engine } from "mlcweb";',
    "",
    ...(queried ? ["// Add the query that the bundle's URL needs."] : []),
    `const engine = await Engine.load(${literal(url)}${given});`,
    ...("prompt" in request ? completion(request) : request.tools ? withTools(program, request) : chat(request)),
    "",
  ].join("\n");
}

const completion = (request: CompletionRequest): string[] => [
  `const { choices } = await engine.completions.create(${literal(request, "", BESIDE)});`,
  ...print("text", request),
];

const chat = (request: ChatRequest): string[] => [
  `const { choices } = await engine.chat.completions.create(${literal(request, "", BESIDE)});`,
  ...print("message.content", request),
];

const print = (what: string, { logprobs }: { logprobs?: boolean | null }): string[] => [
  `console.log(choices[0].${what});`,
  ...(logprobs ? ["console.log(choices[0].logprobs.content);"] : []),
];

function withTools({ results, rounds }: Program, request: ChatRequest): string[] {
  const { messages, tool_choice: choice, ...rest } = request;
  return [
    `const results = ${literal(results)};`,
    `const request = ${literal(rest)};`,
    `const messages = ${literal(messages)};`,
    `for (let round = 0; round < ${rounds}; round++) {`,
    ...(choice === undefined || choice === "none"
      ? [`  const asked = { ...request, messages${choice ? `, tool_choice: ${literal(choice)}` : ""} };`]
      : [
          "  // Only the first answer has to be a call.",
          `  const asked = { ...request, messages, tool_choice: round === 0 ? ${literal(choice)} : "auto" };`,
        ]),
    "  const { choices } = await engine.chat.completions.create(asked);",
    "  const { message, finish_reason: reason } = choices[0];",
    "  messages.push(message);",
    ...print("message", request).map((line) => `  ${line}`),
    '  if (reason !== "tool_calls") break;',
    "  for (const { id, function: called } of message.tool_calls)",
    '    messages.push({ role: "tool", tool_call_id: id, content: results[called.name] });',
    "}",
  ];
}
