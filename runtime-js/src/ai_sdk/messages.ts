// Turns the AI SDK's prompt into the engine's messages. It throws for parts that no bundle can read, such as images.
import type { LanguageModelV4Message, LanguageModelV4Prompt, LanguageModelV4ToolResultOutput } from "@ai-sdk/provider";
import type { ChatMessage } from "../chat/types.js";
import { unsupported } from "./errors_of_sdk.js";

type Of<Role> = Extract<LanguageModelV4Message, { role: Role }>;

export function messagesOf(prompt: LanguageModelV4Prompt): ChatMessage[] {
  return prompt.flatMap((message): ChatMessage[] => {
    switch (message.role) {
      case "system":
        return [{ role: "system", content: message.content }];
      case "user":
        return [{ role: "user", content: message.content.map(textOf).join("") }];
      case "assistant":
        return [assistantOf(message)];
      default:
        return message.content.map(resultOf);
    }
  });
}

function resultOf(part: Of<"tool">["content"][number]): ChatMessage {
  if (part.type !== "tool-result") throw unsupported(`a prompt's part of the type ${part.type}`);
  return { role: "tool", tool_call_id: part.toolCallId, name: part.toolName, content: outputOf(part.output) };
}

function textOf(part: Of<"user">["content"][number]): string {
  if (part.type === "text") return part.text;
  throw unsupported(`a prompt's part of the type ${part.mediaType}: bundles read text`);
}

function assistantOf({ content }: Of<"assistant">): ChatMessage {
  let text = "";
  let reasoning = "";
  const calls: NonNullable<ChatMessage["tool_calls"]> = [];
  for (const part of content) {
    if (part.type === "text") text += part.text;
    else if (part.type === "reasoning") reasoning += part.text;
    else if (part.type === "tool-call")
      calls.push({ id: part.toolCallId, function: { name: part.toolName, arguments: inputOf(part.input) } });
    else throw unsupported(`an assistant's part of the type ${part.type}`);
  }
  return {
    role: "assistant",
    content: text,
    ...(reasoning !== "" && { reasoning_content: reasoning }),
    ...(calls.length > 0 && { tool_calls: calls }),
  };
}

const inputOf = (input: unknown): string => (typeof input === "string" ? input : JSON.stringify(input ?? {}));

function outputOf(output: LanguageModelV4ToolResultOutput): string {
  switch (output.type) {
    case "text":
    case "error-text":
      return output.value;
    case "json":
    case "error-json":
      return JSON.stringify(output.value);
    case "execution-denied":
      return output.reason ?? "The user did not allow this call.";
    case "content":
      return output.value
        .map((part) => {
          if (part.type === "text") return part.text;
          throw unsupported(`a tool result's part of the type ${part.type}`);
        })
        .join("");
  }
}
