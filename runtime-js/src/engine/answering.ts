// Generates an answer on what is loaded, and on what is loaded in its place where it is lost meanwhile.
import { type Answer, type AnswerSource, type Backend, type Delta, generateAnswer } from "../chat/index.js";
import type { Eyes } from "./eyes.js";
import type { Answering, Running } from "./held.js";

type Asked = Parameters<Backend["generate"]> extends [unknown, ...infer Rest] ? Rest : never;

export async function* answerOn(
  running: Running,
  eyes: Eyes,
  given: Pick<AnswerSource, "kv" | "depth" | "interrupted">,
  ...[prompt, request, index, constraint]: Asked
): AsyncGenerator<Delta, Answer, void> {
  const { codec, host, manifest } = running.now();
  const { pictures = [], signal, ignoreEos } = request;
  const see = async (now: Answering): Promise<readonly number[]> =>
    pictures.length === 0 ? prompt : eyes.see(now, prompt, pictures, signal);
  const recover = (error: unknown): Promise<readonly number[]> => running.recover(error, see);
  const source: AnswerSource = {
    ...given,
    get model() {
      return running.now().model;
    },
    host,
    codec,
    stopTokens: new Set(ignoreEos ? [] : manifest.tokenizer.eosTokenIds),
    recover,
  };
  return yield* generateAnswer(source, await see(running.now()).catch(recover), request, index, constraint);
}
