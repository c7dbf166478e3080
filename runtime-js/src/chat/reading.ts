// Decides how a chat's answers are read: with which tools, whether they reason, and what enforces it.
import type { AnswerSyntax } from "../contract/index.js";
import { InvalidRequestError } from "../errors.js";
import type { ImagesCode } from "../images/code.js";
import type { ImageFacts } from "../images/facts.js";
import type { Picture } from "../images/read.js";
import type { ChatTurn, RenderOptions } from "../text/template.js";
import type { AnswerReader, ReasoningBudget, StructuralTag, ToolRequest } from "../tools/index.js";
import { picturesOf } from "./content.js";
import type { ParsedChatRequest } from "./request.js";
import type { AnswerFormat, AnswerRules } from "./response_format.js";

/** How the answers of a request are read. */
export interface Reading {
  /** A reader of one answer. */
  open(): AnswerReader;
  /** What ends one answer's reasoning. */
  budget(): ReasoningBudget | undefined;
  /** Special tokens that the reader must see, and their text. */
  readonly shown: ReadonlyMap<number, string>;
  readonly reasons: boolean;
}

/** What a chat is rendered with, and how its answers are written. */
export interface ChatModel {
  readonly answers: AnswerSyntax | undefined;
  /** Whether the template has a place for tools. */
  readonly templateHasTools: boolean;
  renderChat(messages: readonly ChatTurn[], options: RenderOptions): string;
  /** Special tokens whose text is in one of these, and that text. */
  specialsIn(texts: readonly string[]): ReadonlyMap<number, string>;
  token(id: number): string;
  encode(text: string, addSpecialTokens: boolean): number[];
  /** Of a model that takes pictures: what its bundle says of them, and the code that reads them. */
  readonly images?: ImageFacts | undefined;
  imagesCode?(): Promise<ImagesCode>;
}

/** The prompt's text, and how to read what answers it. */
export interface PreparedChat {
  readonly text: string;
  readonly reading: Reading | undefined;
  /** What the answer is held to. */
  readonly rules: AnswerRules | undefined;
  /** In the order of their rows in the text. */
  readonly pictures: readonly Picture[];
}

/** Throws InvalidRequestError for what the model, or the engine, cannot do. */
export async function prepareChat(request: ParsedChatRequest, model: ChatModel): Promise<PreparedChat> {
  const { images } = model;
  const written = await writeChat(request, model);
  const asked = picturesOf(request.messages);
  if (!images || (asked.length === 0 && !written.text.includes(images.token) && !written.text.includes(images.row)))
    return { ...written, pictures: [] };
  const code = await model.imagesCode!();
  code.checkPlaces(written.text, images, asked.length); // before the work
  const pictures = await code.readPictures(asked, images, request.signal);
  return { ...written, text: code.expandPictures(written.text, images, pictures), pictures };
}

/** With the template's token for each picture. */
async function writeChat(request: ParsedChatRequest, model: ChatModel): Promise<Omit<PreparedChat, "pictures">> {
  const { messages, tools, thinkingBudget, format } = request;
  const template: RenderOptions = { ...request.template, ...(model.images && { parts: true }) };
  const { answers } = model;
  const reasoning = answers?.reasoning;
  if (thinkingBudget !== undefined && !reasoning)
    throw new InvalidRequestError("thinking_budget", "this model's chat template knows of no reasoning.");
  const offered = tools.choice === "none" ? [] : tools.tools;
  const calls = messages.some(({ role, tool_calls: made }) => role === "tool" || made !== undefined);
  if (offered.length === 0 && !calls && !reasoning)
    return { text: model.renderChat(messages, template), reading: undefined, rules: format && only(format) };
  // In a chunk of its own: most chats need none of it.
  const kit = await import("../tools/index.js");
  const syntax = kit.callSyntax(answers, model.templateHasTools);
  const asked = syntax
    ? kit.withTools(messages, offered, syntax)
    : { messages, tools: offered.length > 0 ? kit.forTemplate(offered) : undefined };
  const render = (turns: readonly ChatTurn[]): string => model.renderChat(turns, { ...template, tools: asked.tools });
  let text: string;
  try {
    text = render(asked.messages);
  } catch (error) {
    const folded = kit.foldSystem(asked.messages);
    if (messages[0]?.role === "system" || folded === asked.messages) throw error;
    text = render(folded); // the system message is the engine's own
  }
  const functions = offered.map((tool) => tool.function);
  // An answer of the format may be calls instead, and then it is nothing else.
  const choice = format && tools.choice === "auto" ? "required" : tools.choice;
  const grammar = syntax && kit.toolGrammar(syntax, functions, choice, tools.parallel);
  if (!grammar) refuseUnenforced(tools);
  const opened = reasoning !== undefined && text.trimEnd().endsWith(reasoning.begin);
  const known = new Map(functions.map(({ name, parameters }) => [name, parameters ?? {}]));
  const single = !tools.parallel || typeof tools.choice === "object";
  const reading: Reading = {
    open: () =>
      new kit.AnswerReader({ reasoning, opened, single, tools: known, calls: known.size > 0 ? syntax : undefined }),
    budget: () =>
      reasoning && thinkingBudget !== undefined
        ? kit.reasoningBudget(reasoning, thinkingBudget, opened, model)
        : undefined,
    shown: model.specialsIn(kit.markersOf({ ...(syntax && { tool_calls: syntax }), ...(reasoning && { reasoning }) })),
    reasons: reasoning !== undefined,
  };
  return {
    text,
    reading,
    rules: rulesOf(tools, format, grammar, reasoning && { ...reasoning, opened }),
  };
}

const only = (format: AnswerFormat): AnswerRules => ({ formats: [format], asked: true });

function rulesOf(
  { tools, choice }: ToolRequest,
  format: AnswerFormat | undefined,
  grammar: StructuralTag | undefined,
  reasoning: AnswerRules["reasoning"],
): AnswerRules | undefined {
  const words = choice === "auto" || choice === "none" ? format : undefined; // otherwise an answer is calls
  const calls: AnswerFormat | undefined = grammar && { kind: "tags", tags: grammar, field: "tools" };
  const formats = [words, calls].filter((one) => one !== undefined);
  if (formats.length === 0) return undefined;
  const strict = tools.some((tool) => tool.function.strict === true);
  return { formats, reasoning, asked: words !== undefined || choice !== "auto" || strict };
}

function refuseUnenforced({ tools, choice }: ToolRequest): void {
  if (choice !== "auto" && choice !== "none")
    throw new InvalidRequestError("tool_choice", "must be auto or none: nothing makes this model call a tool.");
  const at = tools.findIndex((tool) => tool.function.strict === true);
  if (choice === "auto" && at >= 0)
    throw new InvalidRequestError(`tools[${at}].function.strict`, "cannot be enforced for this model.");
}
