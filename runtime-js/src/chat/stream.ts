// Runs a request's choices in its turn of the queue, and hands the answer out: whole, or as a stream of chunks.
import type { Constraint, HostParams } from "../decode/index.js";
import { ContextLengthError, InvalidRequestError } from "../errors.js";
import type { ImageFacts } from "../images/facts.js";
import type { CallDelta } from "../tools/index.js";
import type { Answer, Timing } from "./answer.js";
import { inTurn, type Queue, type Turn } from "./queue.js";
import type { ChatModel } from "./reading.js";
import type { ParsedRequest, RequestFacts } from "./request.js";
import type { AnswerRules } from "./response_format.js";
import type { AnswerToolCall, ContentLogprob, FinishReason, Logprobs, Usage } from "./types.js";
import { RequestClock, usageOf } from "./usage.js";
import { type Delta, NOTHING } from "./words.js";

/** What the engine gives the API; each call throws the typed error when it is unloaded or its device is lost. */
export interface Backend extends ChatModel, RequestFacts {
  readonly name: string;
  readonly queue: Queue;
  readonly contextLength: number;
  readonly images?: ImageFacts | undefined;
  /** What answers are held to the rules with, one for each. Throws InvalidRequestError for a format that no answer has,
   * or that is not supported. */
  constrain(rules: AnswerRules): Promise<() => Constraint>;
  /** Generates a choice of the request. */
  generate(
    turn: Turn,
    prompt: readonly number[],
    request: ParsedRequest,
    index: number,
    constraint: Constraint | undefined,
  ): AsyncGenerator<Delta, Answer>;
  /** Tokens of a chat that the template has rendered. */
  encodeRendered(text: string): number[];
  /** Stop strings of the model's chats, beside the request's. */
  readonly chatStops: readonly string[];
}

/** A choice goes on, or ends for a reason. */
export interface ChoiceEvent {
  readonly index: number;
  readonly text: string;
  readonly reasoning: string;
  readonly calls: readonly CallDelta[];
  readonly logprobs: ContentLogprob[] | undefined;
  readonly reason: FinishReason | null;
}

/** What a caller adds to a request that no JSON can say. */
export type HostExtras = Pick<HostParams, "processor" | "times">;

/** Hears an answer as it is generated, streamed or not. */
export interface Observer {
  event(event: ChoiceEvent): void;
  usage(usage: Usage): void;
}

/** A choice that has ended. */
export interface FinishedChoice {
  readonly index: number;
  readonly text: string;
  readonly reasoning: string;
  readonly calls: readonly AnswerToolCall[];
  readonly logprobs: Logprobs | null;
  readonly reason: FinishReason;
}
interface Head {
  readonly id: string;
  readonly created: number;
  readonly model: string;
}
/** The shapes of one API's answers: a whole answer, and the chunks of a stream. */
export interface Format<Whole, Chunk> {
  readonly prefix: string;
  whole(head: Head, choices: readonly FinishedChoice[], usage: Usage): Whole;
  /** `first` is true for a choice's first chunk. */
  chunk(head: Head, event: ChoiceEvent, first: boolean): Chunk;
  usage(head: Head, usage: Usage): Chunk;
}

/** Answers a request in a format: whole, or a stream. */
export async function respond<Whole, Chunk>(
  format: Format<Whole, Chunk>,
  backend: Backend,
  prompt: readonly number[],
  request: ParsedRequest,
  observer?: Observer,
): Promise<Whole | AsyncIterable<Chunk>> {
  if (prompt.length >= backend.contextLength) throw new ContextLengthError(prompt.length, backend.contextLength);
  const head = {
    id: `${format.prefix}-${crypto.randomUUID()}`,
    created: Math.floor(Date.now() / 1000),
    model: backend.name,
  };
  const clock = new RequestClock();
  const constrain = request.rules && (await clock.making(() => constrained(backend, request.rules!)));
  const events = generateChoices(backend, prompt, request, constrain && clock.timing(constrain), clock, observer);
  return request.stream ? stream(format, head, events, request) : collect(format, head, events, request);
}

/** Rules that nobody asked for are left out where they cannot be made, as of a tool whose schema is not supported. */
async function constrained(backend: Backend, rules: AnswerRules): Promise<(() => Constraint) | undefined> {
  try {
    return await backend.constrain(rules);
  } catch (error) {
    if (rules.asked || !(error instanceof InvalidRequestError)) throw error;
    return undefined;
  }
}

type Events = ReturnType<typeof inTurn<ChoiceEvent, Usage>>;

/** Generates the request's choices one after the other; they share the prompt's KV cache. */
function generateChoices(
  backend: Backend,
  prompt: readonly number[],
  request: ParsedRequest,
  constrain: (() => Constraint) | undefined,
  clock: RequestClock,
  observer: Observer | undefined,
): Events {
  const tell = (event: ChoiceEvent): ChoiceEvent => {
    observer?.event(event);
    return event;
  };
  return inTurn(backend.queue, request.signal, async function* (turn) {
    const timings: Timing[] = [];
    for (let index = 0; index < request.n; index++) {
      if (request.echo !== undefined) yield { index, ...NOTHING, text: request.echo, reason: null };
      const run = backend.generate(turn, prompt, request, index, constrain?.());
      try {
        let next = await run.next();
        for (; !next.done; next = await run.next()) yield tell({ index, ...next.value, reason: null });
        timings.push(next.value.timing);
        if (timings.length === request.n) turn.leave(); // that it ended need not be read
        yield tell({ index, ...NOTHING, reason: next.value.reason });
      } finally {
        await run.return(undefined as never);
      }
    }
    const usage = usageOf(timings, clock, request.reading?.reasons ?? false);
    observer?.usage(usage);
    return usage;
  });
}

async function collect<Whole>(
  format: Format<Whole, unknown>,
  head: Head,
  events: Events,
  { n, host }: ParsedRequest,
): Promise<Whole> {
  const choices = Array.from({ length: n }, (_, index) => ({
    index,
    text: "",
    reasoning: "",
    calls: [] as AnswerToolCall[],
    logprobs: host.topLogprobs === undefined ? null : { content: [] as ContentLogprob[] },
    reason: "stop" as FinishReason,
  }));
  for (;;) {
    const { done, value } = await events.next();
    if (done) return format.whole(head, choices, value);
    const choice = choices[value.index]!;
    choice.text += value.text;
    choice.reasoning += value.reasoning;
    for (const { index, id, name, arguments: text } of value.calls) {
      if (id !== undefined) choice.calls[index] = { id, type: "function", function: { name: name!, arguments: text } };
      else choice.calls[index]!.function.arguments += text;
    }
    choice.logprobs?.content.push(...(value.logprobs ?? []));
    choice.reason = value.reason ?? choice.reason;
  }
}

async function* stream<Chunk>(
  format: Format<unknown, Chunk>,
  head: Head,
  events: Events,
  { includeUsage }: ParsedRequest,
): AsyncGenerator<Chunk, void, void> {
  const begun = new Set<number>();
  try {
    for (;;) {
      const { done, value } = await events.next();
      if (done) {
        if (includeUsage) yield format.usage(head, value);
        return;
      }
      yield format.chunk(head, value, !begun.has(value.index));
      begun.add(value.index);
    }
  } finally {
    await events.return();
  }
}
