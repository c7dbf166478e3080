// Renders the model's chat template (Jinja) as transformers' apply_chat_template does.
import { BundleError, InvalidRequestError } from "../errors.js";
import { Template } from "../jinja/index.js";
import { type Content, partsOf } from "./content.js";
import { strftime } from "./strftime.js";

export interface ToolCall {
  readonly id?: string;
  readonly type?: string;
  readonly function: { readonly name: string; readonly arguments: unknown };
}
export interface ChatTurn {
  readonly role: string;
  readonly content: Content;
  readonly name?: string;
  readonly reasoning_content?: string;
  readonly tool_calls?: readonly ToolCall[];
  readonly tool_call_id?: string;
}
export interface RenderOptions {
  /** End with what begins an answer; by default true. */
  readonly addGenerationPrompt?: boolean;
  /** Functions that the model may call, as OpenAI describes them. */
  readonly tools?: readonly object[] | undefined;
  /** Variables that this template knows, such as `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>> | undefined;
  /** Give the template every content as a list of parts, as models of pictures have them, also words alone. */
  readonly parts?: boolean;
  /** What templates that print the date take for today. */
  readonly now?: Date;
}

/** What a model without a template gets, such as a base model: a dialogue, line by line, which it goes on with. */
const DIALOGUE =
  "{% for message in messages %}{% if message.role == 'system' %}{{ message.content | trim }}\n\n{% else %}" +
  "{{ message.role | capitalize }}: {{ message.content | trim }}\n{% endif %}{% endfor %}" +
  "{% if add_generation_prompt %}Assistant:{% endif %}";

export class ChatTemplate {
  private readonly templates = new Map<string, { readonly source: string; readonly template: Template }>();
  private readonly specials: Record<string, string> = {};

  /** `config` is tokenizer_config.json. Throws BundleError when a template is no Jinja. */
  constructor(config: Record<string, unknown>) {
    for (const [key, value] of Object.entries(config)) {
      if (!key.endsWith("_token")) continue;
      const token = typeof value === "object" && value !== null ? (value as { content?: unknown }).content : value;
      if (typeof token === "string") this.specials[key] = token;
    }
    for (const [name, source] of templateSources(config.chat_template)) {
      try {
        this.templates.set(name, { source, template: new Template(source) });
      } catch (cause) {
        throw new BundleError(`The model's chat template cannot be read: ${(cause as Error).message}`, undefined, {
          cause,
        });
      }
    }
  }

  /** Whether the model has one of its own. Without one, a chat is a dialogue of `User:` and `Assistant:` lines. */
  get exists(): boolean {
    return this.templates.size > 0;
  }

  /** Whether it has a place for tools. */
  get hasTools(): boolean {
    return /\btools\b/.test(this.choose(true)?.source ?? "");
  }

  /** What ends an answer beside the model's stop tokens: a dialogue's next line is not the model's to write. */
  get stops(): readonly string[] {
    return this.exists ? [] : ["\nUser:"];
  }

  private choose(withTools: boolean): { readonly source: string; readonly template: Template } | undefined {
    const special = withTools ? this.templates.get("tool_use") : undefined;
    return special ?? this.templates.get("default") ?? [...this.templates.values()][0];
  }

  /** Throws InvalidRequestError when the template refuses the messages, or knows no tools. */
  render(
    messages: readonly ChatTurn[],
    { addGenerationPrompt = true, tools, variables, parts = false, now = new Date() }: RenderOptions = {},
  ): string {
    const chosen = this.choose(tools !== undefined);
    if (tools && !this.hasTools) {
      throw new InvalidRequestError(
        "tools",
        "this model's chat template has no place for them.",
        "Describe them in a system message, or use a model made for tools.",
      );
    }
    try {
      return (chosen?.template ?? new Template(DIALOGUE)).render(
        {
          ...this.specials,
          ...variables,
          messages: messages.map((turn) => forTemplate(turn, parts)),
          tools: tools ?? null,
          documents: null,
          add_generation_prompt: addGenerationPrompt,
        },
        { strftime_now: (format) => strftime(now, format) },
      );
    } catch (cause) {
      throw new InvalidRequestError("messages", `the model's chat template refuses them: ${(cause as Error).message}`);
    }
  }
}

/** A turn as Hugging Face's templates know it: of a picture they get that there is one. */
function forTemplate(turn: ChatTurn, parts: boolean): object {
  const { content } = turn;
  if (!Array.isArray(content) && !(parts && typeof content === "string")) return turn;
  return { ...turn, content: partsOf(content).map((part) => (part.type === "image" ? { type: "image" } : part)) };
}

/** Templates by name; one without is the default. */
function templateSources(value: unknown): [string, string][] {
  if (typeof value === "string") return [["default", value]];
  if (!Array.isArray(value)) return [];
  return (value as { name?: unknown; template?: unknown }[]).flatMap(({ name, template }) =>
    typeof name === "string" && typeof template === "string" ? [[name, template] as [string, string]] : [],
  );
}
