// Is a session of the Prompt API: it keeps the conversation, answers one prompt after the other, and drops the oldest
// exchanges where the context window overflows.
import type { CountingSource } from "../chat/source.js";
import type { ChatMessage, ChatTool } from "../chat/types.js";
import { answer, unlessAborted } from "./answer.js";
import { parseConstraint } from "./constraint.js";
import { codeOf, exception, exceptionOf, notSupported, outOfContext, quotaExceeded } from "./exceptions.js";
import { both, joined, keeping, parseInput } from "./input.js";
import type { Settings } from "./settings.js";
import type { PromptInput, PromptOptions, SamplingMode, SignalOption } from "./types.js";

type Handler = ((event: Event) => unknown) | null;

/** Tokens that are kept for the answer, where dropping old exchanges can. */
const ANSWER_TOKENS = 256;

export class Session extends EventTarget {
  readonly contextWindow: number;
  /** Never dropped: initial prompts, and a first message of the system's. */
  private first: ChatMessage[] = [];
  /** What came with each prompt, and its answer. */
  private exchanges: ChatMessage[][] = [];
  private usage = 0;
  private queue: Promise<unknown> = Promise.resolve();
  private readonly destruction = new AbortController();
  private readonly handlers = new Map<string, Handler>();

  /** @internal */
  constructor(
    private readonly source: CountingSource,
    private readonly settings: Settings,
  ) {
    super();
    this.contextWindow = source.info.contextLength;
  }

  get contextUsage(): number {
    return this.usage;
  }
  get inputUsage(): number {
    return this.contextUsage;
  }
  get inputQuota(): number {
    return this.contextWindow;
  }
  get topK(): number {
    return this.settings.topK;
  }
  get temperature(): number {
    return this.settings.temperature;
  }
  get samplingMode(): SamplingMode | null {
    return this.settings.samplingMode;
  }
  get oncontextoverflow(): Handler {
    return this.handlers.get("contextoverflow") ?? null;
  }
  set oncontextoverflow(handler: Handler) {
    this.handle("contextoverflow", handler);
  }
  get onquotaoverflow(): Handler {
    return this.handlers.get("quotaoverflow") ?? null;
  }
  set onquotaoverflow(handler: Handler) {
    this.handle("quotaoverflow", handler);
  }

  async prompt(input: PromptInput, options: PromptOptions = {}): Promise<string> {
    let text = "";
    await this.ask(input, options, (delta) => {
      text += delta;
    });
    return text;
  }

  /** The pieces of an answer, which begins at once. */
  promptStreaming(input: PromptInput, options: PromptOptions = {}): ReadableStream<string> {
    const stop = new AbortController();
    const { signal } = options;
    const aborted = (): void => stop.abort(signal?.reason);
    if (signal?.aborted) aborted();
    signal?.addEventListener("abort", aborted, { once: true });
    return new ReadableStream<string>({
      start: (controller) => {
        this.ask(input, { ...options, signal: stop.signal }, (delta) => controller.enqueue(delta))
          .then(
            () => controller.close(),
            (error: unknown) => controller.error(error),
          )
          .catch(() => {}) // the reader has cancelled it
          .finally(() => signal?.removeEventListener("abort", aborted));
      },
      cancel: (reason) => stop.abort(reason),
    });
  }

  async append(input: PromptInput, options: SignalOption = {}): Promise<void> {
    await this.inTurn(options.signal, async (signal) => {
      const { messages, prefix } = await keeping(parseInput(input, this.begun, this.settings.images));
      if (prefix) throw exception("SyntaxError", "A prefix is for prompt: nothing follows what is appended.");
      const kept = await this.makeRoom(messages, 0);
      const tokens = await this.count([...this.first, ...kept.flat(), ...messages]);
      signal.throwIfAborted();
      this.keep(messages, kept, tokens);
    });
  }

  async measureContextUsage(input: PromptInput, options: PromptOptions = {}): Promise<number> {
    this.check();
    options.signal?.throwIfAborted();
    const { messages, prefix } = parseInput(input, this.begun, this.settings.images);
    const { told } = parseConstraint(options, prefix);
    const before = this.conversation();
    const added = [...messages, ...(prefix ? [{ role: "assistant" as const, content: prefix }] : [])];
    const counting = Promise.all([this.count(before), this.count([...before, ...withTold(added, told)])]);
    const [was, is] = await unlessAborted(options.signal ?? this.destruction.signal, () => counting);
    return Math.max(0, is - was);
  }
  measureInputUsage(input: PromptInput, options: PromptOptions = {}): Promise<number> {
    return this.measureContextUsage(input, options);
  }

  /** Another session with this conversation so far. */
  async clone(options: SignalOption = {}): Promise<this> {
    return this.inTurn(options.signal, async () => {
      const Same = this.constructor as new (source: CountingSource, settings: Settings) => this;
      const copy = new Same(this.source, this.settings);
      copy.first = [...this.first];
      copy.exchanges = [...this.exchanges];
      copy.usage = this.usage;
      return copy;
    });
  }

  /** Ends what is under way with an AbortError, or `reason`. */
  destroy(reason: unknown = exception("AbortError", "The session has been destroyed.")): void {
    this.destruction.abort(reason);
  }

  /** @internal Takes the initial prompts, which are never dropped. */
  async begin(messages: readonly ChatMessage[]): Promise<void> {
    const tokens = await this.count(messages);
    if (tokens >= this.contextWindow) throw quotaExceeded(tokens, this.contextWindow);
    this.first = [...messages];
    this.usage = tokens;
  }

  private ask(input: PromptInput, options: PromptOptions, onText: (delta: string) => void): Promise<void> {
    return this.inTurn(options.signal, async (signal) => {
      const { messages: given, prefix } = await keeping(parseInput(input, this.begun, this.settings.images));
      const { format, told } = parseConstraint(options, prefix);
      const messages = withTold(given, told);
      let kept = await this.makeRoom(messages, Math.min(ANSWER_TOKENS, this.contextWindow >> 2));
      for (;;) {
        const request = {
          ...this.settings.sampling,
          messages: joined([...this.first, ...kept.flat(), ...messages]),
          ...(this.settings.tools.length > 0 && { tools: this.settings.tools.map(described) }),
          ...(format && { response_format: format }),
          signal,
        };
        try {
          const done = await answer(this.source, request, this.settings.tools, prefix, onText);
          signal.throwIfAborted();
          this.keep([...messages, ...done.messages], kept, done.usage.total_tokens);
          return;
        } catch (error) {
          // Tools take tokens that nobody counted.
          if (codeOf(error) !== "context-length") throw error;
          if (kept.length === 0) throw outOfContext(error);
          kept = kept.slice(1);
        }
      }
    });
  }

  /** The exchanges that stay, so that the messages fit and some tokens are left for the answer. */
  private async makeRoom(messages: readonly ChatMessage[], spare: number): Promise<ChatMessage[][]> {
    for (let kept = this.exchanges; ; kept = kept.slice(1)) {
      const tokens = await this.count([...this.first, ...kept.flat(), ...messages]);
      if (tokens + spare < this.contextWindow) return kept;
      if (kept.length > 0) continue;
      if (tokens >= this.contextWindow) throw quotaExceeded(tokens, this.contextWindow);
      return kept;
    }
  }

  /** Adds an exchange to those that stay, and tells of those that do not. */
  private keep(messages: readonly ChatMessage[], kept: ChatMessage[][], tokens: number): void {
    const overflowed = kept.length < this.exchanges.length;
    const begins = messages[0]?.role === "system";
    if (begins) this.first = [messages[0]!];
    this.exchanges = [...kept, begins ? messages.slice(1) : [...messages]];
    this.usage = tokens;
    if (!overflowed) return;
    for (const type of ["contextoverflow", "quotaoverflow"]) this.dispatchEvent(new Event(type));
  }

  private get begun(): boolean {
    return this.first.length > 0 || this.exchanges.length > 0;
  }
  private conversation(): ChatMessage[] {
    return [...this.first, ...this.exchanges.flat()];
  }
  private async count(messages: readonly ChatMessage[]): Promise<number> {
    if (messages.length === 0) return 0;
    const asked = joined(messages);
    if (asked.some(({ content }) => Array.isArray(content))) return this.countWithPictures(asked);
    const turns = asked.map(({ role, content, tool_calls: calls }) => ({
      role,
      content: String(content ?? ""),
      ...(calls && { tool_calls: calls.map(({ id, function: made }) => ({ id, type: "function", function: made })) }),
    }));
    return (await this.source.encodeChat(turns as never)).length;
  }

  private async countWithPictures(messages: ChatMessage[]): Promise<number> {
    const { completions } = this.source.chat;
    if (!completions.prompt) throw notSupported("This engine counts no tokens of pictures.");
    return (await completions.prompt({ messages })).tokens.length;
  }

  private check(): void {
    if (this.destruction.signal.aborted) throw exception("InvalidStateError", "The session has been destroyed.");
  }

  /** Runs after what was asked for before. The signal is the caller's or the destruction's, and so is the reason. */
  private async inTurn<T>(given: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.check();
    given?.throwIfAborted();
    const stop = new AbortController();
    const signals = [this.destruction.signal, ...(given ? [given] : [])];
    const aborted = ({ target }: Event): void => stop.abort((target as AbortSignal).reason);
    for (const signal of signals) signal.addEventListener("abort", aborted, { once: true });
    const before = this.queue;
    const run = (async () => {
      await before;
      stop.signal.throwIfAborted();
      return work(stop.signal);
    })();
    this.queue = run.catch(() => {});
    try {
      return await unlessAborted(stop.signal, () => run);
    } catch (error) {
      stop.signal.throwIfAborted();
      throw exceptionOf(error, "UnknownError");
    } finally {
      for (const signal of signals) signal.removeEventListener("abort", aborted);
    }
  }

  private handle(type: string, handler: Handler): void {
    const before = this.handlers.get(type);
    if (before) this.removeEventListener(type, before);
    this.handlers.set(type, handler);
    if (handler) this.addEventListener(type, handler);
  }
}

/** What the model is told of a constraint stands in the last message of the user's. */
function withTold(messages: readonly ChatMessage[], told: string): ChatMessage[] {
  const at = messages.findLastIndex(({ role }) => role === "user");
  if (told === "") return [...messages];
  if (at < 0) return [...messages, { role: "user", content: told }];
  return messages.map((one, i) => (i === at ? { ...one, content: both(one.content, told) } : one));
}

const described = ({ name, description, inputSchema }: Settings["tools"][number]): ChatTool => ({
  type: "function",
  function: { name, description, parameters: inputSchema as Record<string, unknown> },
});
