// Turns the AI SDK's prompt into the engine's messages. It throws for parts that the model cannot read, such as sounds.
import type { LanguageModelV4Message, LanguageModelV4Prompt, LanguageModelV4ToolResultOutput } from "@ai-sdk/provider";
import type { ChatMessage, ImagePart, ImageUrlPart, MessagePart } from "../chat/types.js";
import { unsupported } from "./errors_of_sdk.js";

type Of<Role> = Extract<LanguageModelV4Message, { role: Role }>;

/** `images`: the model takes pictures. */
export function messagesOf(prompt: LanguageModelV4Prompt, images: boolean): ChatMessage[] {
  return prompt.flatMap((message): ChatMessage[] => {
    switch (message.role) {
      case "system":
        return [{ role: "system", content: message.content }];
      case "user":
        return [{ role: "user", content: contentOf(message.content, images) }];
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

type UserPart = Of<"user">["content"][number];

/** A string where there are no pictures. */
function contentOf(parts: readonly UserPart[], images: boolean): string | MessagePart[] {
  const content = parts.map((part) => (part.type === "text" ? part.text : pictureOf(part, images)));
  if (content.every((part) => typeof part === "string")) return content.join("");
  return content.map((part) => (typeof part === "string" ? { type: "text", text: part } : part));
}

function pictureOf(
  { mediaType, data, providerOptions }: Extract<UserPart, { type: "file" }>,
  images: boolean,
): ImagePart | ImageUrlPart {
  const reads = images ? "text and pictures" : "text";
  if (!images || !/^image(\/|$)/.test(mediaType))
    throw unsupported(`a prompt's part of the type ${mediaType}: this model reads ${reads}`);
  // As OpenAI's provider names it; the engine checks it.
  const detail = providerOptions?.mlcweb?.imageDetail as ImagePart["detail"];
  if (data.type === "url")
    return { type: "image_url", image_url: { url: data.originalUrl ?? data.url.href, ...(detail && { detail }) } };
  if (data.type !== "data") throw unsupported(`a picture that is a ${data.type}`);
  const type = /\/[^*]/.test(mediaType) ? mediaType : "image/png"; // decoders look for themselves
  const image =
    typeof data.data === "string"
      ? `data:${type};base64,${data.data}`
      : new Blob([data.data as Uint8Array<ArrayBuffer>], { type });
  return { type: "image", image, ...(detail && { detail }) };
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
