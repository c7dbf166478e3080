// The playground: a panel whose fields make the chat page's requests. It is fetched when it is first opened, and from
// then on its settings are in force.
import { type ChatMessage, type Engine, InvalidRequestError } from "mlcweb";
import { $, add } from "../dom.js";
import { count } from "../numbers.js";
import { programOf } from "./code.js";
import { complete, converse, type ReplyTo } from "./converse.js";
import { Form } from "./form.js";
import { addSections, makePanel, type Sections } from "./panel.js";
import { placeOf } from "./places.js";
import { PromptView, rawFacts } from "./prompt.js";
import { chatRequest, roundsOf, sharedRequest } from "./request.js";
import { emptySettings, keep, kept, type Settings } from "./settings.js";
import { ToolList } from "./tools.js";

/** What the playground needs of the chat page. */
export interface Chat {
  engine(): Engine | undefined;
  /** It is loaded, and no answer is being written. */
  ready(): boolean;
  history(): readonly ChatMessage[];
  /** What the next message has so far: nothing, words, or pictures and words. */
  typed(): NonNullable<ChatMessage["content"]>;
  /** What the bundle is loaded with. */
  options(): { tier: string | undefined; contextLength: number | undefined };
  /** The bundle's URL has a query. */
  readonly queried: boolean;
  readonly reply: ReplyTo;
  run(asked: string, kind: string, work: (engine: Engine) => Promise<void>): Promise<void>;
}

const PAUSE_MS = 250;
/** Stands for a message where there is none yet. */
const EXAMPLE: ChatMessage = { role: "user", content: "What is the capital of France?" };
const wide = matchMedia("(min-width: 60rem)");

/** Makes the playground, once its looks are there. */
export async function makePlayground(chat: Chat): Promise<Playground> {
  await addStyles();
  return new Playground(chat);
}

export class Playground {
  private settings = kept() ?? fromDrawer();
  private readonly panel: HTMLElement;
  private readonly form: Form;
  private readonly sections: Sections;
  private readonly tools: ToolList;
  private readonly prompt: PromptView;
  private readonly code: HTMLElement;
  private timer: ReturnType<typeof setTimeout> | undefined;
  /** The field that the last look at the request found wrong. */
  private wrong: string | undefined;
  private looks = 0;

  constructor(private readonly chat: Chat) {
    this.panel = makePanel(
      () => this.reset(),
      () => this.toggle(false),
    );
    const settings = (): Settings => this.settings;
    const changed = (): void => this.changed();
    this.form = new Form(changed);
    this.sections = addSections(this.panel, this.form, settings);
    this.tools = new ToolList(this.sections.tools.body, this.form, settings, changed);
    this.prompt = new PromptView(this.sections.prompt.body, this.form, () => this.sendRaw(), changed);
    this.code = addCode(this.sections.code.body);
    this.panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.isComposing || wide.matches) return;
      event.stopPropagation(); // which would end the answer
      this.toggle(false);
    });
    $("input").addEventListener("input", () => this.update());
    takeOver();
    this.changed();
  }

  toggle(open = this.panel.hidden !== false): void {
    const button = $("playground");
    const within = this.panel.contains(document.activeElement);
    this.panel.hidden = !open;
    document.body.classList.toggle("playing", open);
    button.setAttribute("aria-expanded", String(open));
    // it may have been fetched meanwhile, and its user be writing
    if (open && [button, document.body].includes(document.activeElement as HTMLElement)) this.panel.focus();
    else if (within) button.focus();
    this.update();
  }

  converse(engine: Engine, turns: readonly ChatMessage[]): Promise<ChatMessage[]> {
    this.form.clear();
    return converse(engine, structuredClone(this.settings), turns, this.chat.reply);
  }

  /** Whether a field is to blame for an error; then it is shown there. */
  refused(error: unknown): boolean {
    const control = this.blame(error);
    if (!control) return false;
    this.wrong = undefined; // it stays until the field is changed
    if (this.panel.hidden) this.toggle(true);
    control.closest("details")!.open = true;
    control.focus();
    return true;
  }

  /** Looks at the request again, soon. */
  update(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.look(), PAUSE_MS);
  }

  private changed(): void {
    keep(this.settings);
    this.sections.describe(this.settings);
    this.update();
  }

  private reset(): void {
    this.settings = emptySettings();
    this.prompt.setRaw(undefined);
    this.tools.draw();
    this.form.refresh();
    this.form.clear();
    this.changed();
  }

  private placeOf(error: unknown): string | undefined {
    return error instanceof InvalidRequestError ? placeOf(error.param, this.settings) : undefined;
  }

  private blame(error: unknown): ReturnType<Form["blame"]> {
    const place = this.placeOf(error);
    if (place === undefined) return undefined;
    const { message, hint } = error as InvalidRequestError;
    return this.form.blame(place, hint ? `${message} ${hint}` : message);
  }

  private sendRaw(): void {
    const { raw } = this.prompt;
    if (raw === undefined) return;
    this.form.clear();
    if (!this.chat.ready()) {
      this.form.blame("prompt", "The model is loading or answering: send it again afterwards.");
      return;
    }
    if (!wide.matches) this.toggle(false);
    void this.chat.run(raw, "user raw", (engine) =>
      complete(engine, { prompt: raw, ...sharedRequest(this.settings) }, this.chat.reply),
    );
  }

  /** The conversation that would be sent now: with what is typed, or else up to the last question. */
  private turns(): ChatMessage[] {
    const typed = this.chat.typed();
    const history = this.chat.history();
    if (typed.length > 0) return [...history, { role: "user", content: typed }];
    const last = history.findLastIndex(({ role }) => role === "user");
    return last < 0 ? [EXAMPLE] : history.slice(0, last + 1);
  }

  /** Shows the prompt, the code, and what the engine says against the request. */
  private async look(): Promise<void> {
    const engine = this.chat.engine();
    if (!engine || this.panel.hidden) return;
    const look = ++this.looks;
    try {
      this.sections.defaults(engine.info.generation);
      roundsOf(this.settings);
      const shown = await this.shownPrompt(engine);
      if (look !== this.looks) return;
      if (this.wrong !== undefined) this.form.clear(this.wrong);
      this.wrong = undefined;
      this.prompt.show(shown.text, shown.facts);
      this.sections.prompt.says(shown.says);
      this.code.textContent = this.program(engine);
    } catch (error) {
      if (look !== this.looks) return;
      const why = error instanceof Error ? error.message : String(error);
      this.wrong = this.placeOf(error);
      this.blame(error);
      this.prompt.show("", why);
      this.sections.prompt.says("");
      this.code.textContent = `// ${why}`;
    }
  }

  private async shownPrompt(engine: Engine): Promise<{ text: string; facts: string; says: string }> {
    const { raw } = this.prompt;
    if (raw !== undefined) {
      sharedRequest(this.settings); // throws for what is no JSON
      const tokens = engine.encode(raw).length;
      return { text: raw, facts: rawFacts(tokens, tokens - engine.encode(raw, false).length), says: "raw" };
    }
    const turns = this.turns();
    const { text, tokens } = await engine.chat.completions.prompt(chatRequest(this.settings, turns));
    const says = count(tokens.length, "token");
    return { text, facts: turns[0] === EXAMPLE ? `${says}, with an example for a message.` : `${says}.`, says };
  }

  private program(engine: Engine): string {
    const { tools } = this.settings;
    const { raw } = this.prompt;
    return programOf({
      url: engine.info.url,
      queried: this.chat.queried,
      options: this.chat.options(),
      request:
        raw === undefined ? chatRequest(this.settings, this.turns()) : { prompt: raw, ...sharedRequest(this.settings) },
      results: Object.fromEntries(tools.map(({ name, result }) => [name.trim(), result])),
      rounds: roundsOf(this.settings),
    });
  }
}

/** The panel begins with what the drawer had, and the drawer says where that went. */
function fromDrawer(): Settings {
  const value = (id: string): string => $<HTMLInputElement>(id).value;
  return {
    ...emptySettings(),
    system: value("system"),
    temperature: value("temperature"),
    top_p: value("top-p"),
    max_tokens: value("max-tokens"),
  };
}

function takeOver(): void {
  $("simple").hidden = true;
  $("simple").after(add($("drawer"), "p", "moved", "System prompt and sampling are in the playground now."));
}

function addStyles(): Promise<void> {
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = new URL("./playground.css", import.meta.url).href;
  document.head.append(link);
  return new Promise((loaded, failed) => {
    link.addEventListener("load", () => loaded());
    link.addEventListener("error", () => {
      link.remove();
      failed(new Error("playground.css cannot be fetched."));
    });
  });
}

function addCode(section: HTMLElement): HTMLElement {
  const code = add(add(section, "pre", "code"), "code", "");
  const box = code.parentElement!;
  box.tabIndex = 0; // it scrolls
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", "The request as code");
  const copy = add(add(section, "div", "buttons"), "button", "small", "Copy as code");
  copy.type = "button";
  copy.addEventListener("click", () => {
    const say = (words: string): void => {
      copy.textContent = words;
      setTimeout(() => {
        copy.textContent = "Copy as code";
      }, 2000);
    };
    void navigator.clipboard.writeText(code.textContent ?? "").then(
      () => say("Copied"),
      () => say("Not allowed here"),
    );
  });
  return code;
}
