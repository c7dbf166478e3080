// Turns an answer's tokens into what it says: words, reasoning and tool calls, up to where it stops.
import type { TextCodec } from "../text/codec.js";
import { StopStrings } from "../text/stop.js";
import { StreamDecoder } from "../text/stream.js";
import type { AnswerReader, CallDelta, Parts } from "../tools/index.js";
import type { ParsedRequest } from "./request.js";
import type { ContentLogprob, FinishReason } from "./types.js";

/** What is new of an answer. */
export interface Delta {
  readonly text: string;
  readonly reasoning: string;
  readonly calls: readonly CallDelta[];
  readonly logprobs: ContentLogprob[] | undefined;
}
export const NOTHING: Delta = { text: "", reasoning: "", calls: [], logprobs: undefined };

/** Counts an answer's tokens. */
export interface Counter {
  reasoning: number;
  token(): void;
}

export class Words {
  private readonly decoder: StreamDecoder;
  private readonly stops: StopStrings;
  private readonly reader: AnswerReader | undefined;
  /** The answer has met a stop string, or made the one call that was wanted. */
  stopped = false;

  constructor(
    codec: Pick<TextCodec, "decode">,
    prompt: readonly number[],
    request: ParsedRequest,
    private readonly counter: Counter,
  ) {
    const shown = request.reading?.shown;
    this.decoder = new StreamDecoder((tokens) => codec.decode(tokens, shown), request.continues ? prompt : []);
    this.stops = new StopStrings(request.stop);
    this.reader = request.reading?.open();
  }

  /** What is certain with another token. */
  add(token: number, logprob: ContentLogprob | undefined): Delta {
    const reasoned = this.reader?.reasoning;
    this.counter.token();
    const { text, stopped } = this.stops.push(this.decoder.push(token));
    const parts = this.read(text);
    if (reasoned || this.reader?.reasoning) this.counter.reasoning++;
    this.stopped = stopped || this.reader?.done === true;
    return deltaOf(this.stopped ? [...parts, ...this.rest()] : parts, logprob && [logprob]);
  }

  /** What was held back, when no more tokens come. */
  end(): Delta {
    const { text, stopped } = this.stops.push(this.decoder.flush());
    this.stopped ||= stopped;
    return deltaOf([...this.read(text + (stopped ? "" : this.stops.flush())), ...this.rest()], undefined);
  }

  /** Why the answer has ended, but for what its words say. */
  reason(ended: FinishReason): FinishReason {
    const reason = this.stopped ? "stop" : ended;
    return reason === "stop" && this.reader && this.reader.calls > 0 ? "tool_calls" : reason;
  }

  private read(text: string): Parts[] {
    return [this.reader ? this.reader.push(text) : { content: text, reasoning: "", calls: [] }];
  }
  private rest(): Parts[] {
    return this.reader ? [this.reader.end()] : [];
  }
}

/** NOTHING itself where there is nothing new. */
function deltaOf(parts: readonly Parts[], logprobs: ContentLogprob[] | undefined): Delta {
  const text = parts.map(({ content }) => content).join("");
  const reasoning = parts.map((part) => part.reasoning).join("");
  const calls = parts.flatMap((part) => part.calls);
  return text || reasoning || calls.length > 0 || logprobs ? { text, reasoning, calls, logprobs } : NOTHING;
}
