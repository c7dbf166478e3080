// The model's chat template (Jinja), rendered as transformers does; the library brings raise_exception and strftime_now.
import { Template } from "@huggingface/jinja";
import { BundleError, InvalidRequestError } from "../errors.js";

export interface TemplateTurn { readonly role: string; readonly content: string }

export class ChatTemplate {
  private readonly template: Template | undefined;
  private readonly specials: Record<string, string> = {};

  /** `config` is tokenizer_config.json. */
  constructor(config: Record<string, unknown>) {
    for (const [key, value] of Object.entries(config)) {
      if (!key.endsWith("_token")) continue;
      const token = typeof value === "object" && value !== null ? (value as { content?: unknown }).content : value;
      if (typeof token === "string") this.specials[key] = token;
    }
    const source = templateSource(config.chat_template);
    if (source === undefined) return;
    try {
      this.template = new Template(source);
    } catch (cause) {
      throw new BundleError(`The model's chat template cannot be read: ${(cause as Error).message}`, undefined, { cause });
    }
  }

  get exists(): boolean { return this.template !== undefined; }

  render(messages: readonly TemplateTurn[], addGenerationPrompt = true): string {
    if (!this.template) throw new InvalidRequestError("messages", "this model has no chat template.", "Use completions with a plain prompt.");
    try {
      return this.template.render({ messages: [...messages], add_generation_prompt: addGenerationPrompt, ...this.specials });
    } catch (cause) {
      throw new InvalidRequestError("messages", `the model's chat template refuses them: ${(cause as Error).message}`);
    }
  }
}

function templateSource(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return undefined;
  const named = value as { name?: unknown; template?: unknown }[];
  const chosen = named.find((t) => t.name === "default") ?? named[0];
  return typeof chosen?.template === "string" ? chosen.template : undefined;
}
