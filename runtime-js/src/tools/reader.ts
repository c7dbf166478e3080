// Reads an answer as it comes: takes reasoning and tool calls out of its words. It holds back only what may be the
// beginning of a marker. What looked like a call and is none stays words.
import type { ReasoningSyntax, ToolCallSyntax } from "../contract/index.js";
import { type CallContext, readJsonCall, readNamedCall } from "./call_json.js";
import { readPythonCall } from "./call_python.js";
import { readTaggedCall } from "./call_tagged.js";
import { Input, type Parser, partsOf } from "./input.js";
import { Collector, type Parts } from "./parts.js";

export interface ReaderOptions {
  readonly reasoning?: ReasoningSyntax | undefined;
  /** The prompt has begun the reasoning already. */
  readonly opened?: boolean;
  readonly calls?: ToolCallSyntax | undefined;
  /** Parameters of the tools that there are, by name. A call of any other is words. */
  readonly tools?: ReadonlyMap<string, object>;
  /** One call is all that is wanted. */
  readonly single?: boolean;
}

const READERS: Readonly<Record<ToolCallSyntax["form"], (context: CallContext) => Parser<boolean>>> = {
  json: readJsonCall,
  "named-json": readNamedCall,
  pythonic: readPythonCall,
  tagged: readTaggedCall,
};

export class AnswerReader {
  private readonly input = new Input();
  private readonly out = new Collector();
  private readonly running: Parser<void>;
  /** Whether what comes is reasoning. */
  reasoning: boolean;
  /** Nothing that comes is wanted any more. */
  done = false;

  constructor(private readonly options: ReaderOptions) {
    this.reasoning = options.reasoning !== undefined && options.opened === true;
    this.running = this.read();
  }

  /** Tool calls that have begun. */
  get calls(): number {
    return this.out.calls;
  }

  /** What is certain with more of the answer's text. */
  push(text: string): Parts {
    this.input.text += text;
    this.running.next();
    return this.out.taken();
  }

  /** The rest, when the answer has ended. */
  end(): Parts {
    this.input.ended = true;
    this.running.next();
    this.out.end();
    return this.out.taken();
  }

  private *read(): Parser<void> {
    const { input, out } = this;
    const { reasoning, calls } = this.options;
    if (reasoning) {
      if (yield* input.takeMarker([reasoning.begin])) this.reasoning = true;
      if (this.reasoning) {
        const found = yield* input.until([reasoning.end], (text) => out.think(text));
        if (found < 0) return;
        input.at += reasoning.end.length;
        this.reasoning = false;
        out.thoughtEnded();
      }
    }
    const section = calls && new Section(calls, { ...this.options, input, out });
    const triggers = section?.triggers ?? [];
    while ((yield* input.until(triggers, (text) => out.say(text))) >= 0) {
      if (yield* section!.read()) {
        this.done = this.options.single === true;
        if (this.done) return;
      } else out.say(input.text[input.at++]!);
    }
  }
}

/** Calls, with what is around all of them. */
class Section {
  readonly triggers: readonly string[];
  private readonly prefix: readonly string[];
  private readonly begin: readonly string[];
  private readonly callBegin: readonly string[];
  private readonly callEnd: readonly string[];
  private readonly end: readonly string[];
  private readonly context: CallContext;

  constructor(
    syntax: ToolCallSyntax,
    private readonly options: ReaderOptions & { readonly input: Input; readonly out: Collector },
  ) {
    const { input, out, tools = new Map<string, object>() } = options;
    this.context = { input, out, syntax, tools };
    const json = syntax.form === "json";
    // Models leave out a list's brackets, and write them where there are none: the reader of objects skips them.
    this.begin =
      json && partsOf(syntax.begin)[0] !== "[" ? partsOf(syntax.begin.replace(/\[\s*$/, "")) : partsOf(syntax.begin);
    this.end = partsOf(syntax.end);
    this.prefix = partsOf(syntax.prefix);
    this.callBegin = partsOf(syntax.call_begin);
    this.callEnd = partsOf(syntax.call_end);
    const first = this.begin[0] ?? this.callBegin[0] ?? (json ? "{" : undefined);
    this.triggers = first === undefined ? [] : [...this.prefix, first];
  }

  /** Returns whether there was a call. Where there was none, nothing is taken. */
  *read(): Parser<boolean> {
    const { input } = this.options;
    const start = input.at;
    yield* input.takeMarker(this.prefix);
    if (yield* input.takeMarker(this.begin)) {
      let calls = 0;
      let after = start;
      for (;;) {
        if (calls > 0) yield* input.skip(/[\s,;]/);
        // Of several objects in one place only the first has what begins a call.
        if (!(yield* input.takeMarker(this.callBegin)) && calls === 0) break;
        if (!(yield* READERS[this.context.syntax.form](this.context))) break;
        calls++;
        after = input.at;
        if (yield* this.takeAfter(this.callEnd)) after = input.at;
        if (this.options.single) return true;
      }
      input.at = after;
      if (calls > 0) {
        yield* this.takeAfter(this.end);
        return true;
      }
    }
    input.at = start;
    return false;
  }

  /** Takes a marker, or what is left of it where the model closed other brackets than it opened. */
  private *takeAfter(marker: readonly string[]): Parser<boolean> {
    const { input } = this.options;
    const start = input.at;
    if (yield* input.takeMarker(marker)) return true;
    yield* input.skip(/[\s}\]]/);
    const rest = marker.map((part) => part.replace(/^[\]}]+/, "")).filter(Boolean);
    if (rest.length > 0 && (yield* input.takeMarker(rest))) return true;
    input.at = start;
    if (!input.ended || !isCut(input.text.slice(start), marker)) return false;
    input.at = input.text.length;
    return true;
  }
}

/** Whether a text is the beginning of a marker: the answer was cut inside of it. */
function isCut(text: string, marker: readonly string[]): boolean {
  const [found, whole] = [text, marker.join("")].map((one) => one.replace(/\s/g, ""));
  return found !== "" && whole!.startsWith(found!);
}
