// Replays a bundle's validation.json: example chats are rendered again, the logits of every step are compared with the
// host reference's, and the real loop gives its greedy answer.
import { check, type Step, type Tolerance, type ValidationDocument, validationDocument } from "../contract/index.js";
import type { TextReport } from "../embed/index.js";
import { BundleError } from "../errors.js";
import type { Activations } from "./activations.js";
import { type ChatReport, checkChats } from "./chats.js";
import { checkPicture, type PictureReport } from "./check_picture.js";
import type { Engine, EngineInfo } from "./engine.js";
import { taskOf } from "./tasks.js";

export interface ValidationReport {
  readonly ok: boolean;
  readonly tier: string;
  readonly activations: Activations;
  /** The least precise type of its sums' terms, which sets the tolerance. */
  readonly activation: keyof Tolerance;
  readonly tolerance: number;
  /** The largest |difference| / range of any step. */
  readonly max_relative_difference: number;
  readonly steps: readonly { readonly relative_difference: number; readonly ok: boolean; readonly argmax: number }[];
  readonly greedy: readonly number[];
  readonly expected: readonly number[];
  readonly greedy_equal: boolean;
  /** The first step whose token differs without a near tie in the reference to excuse it; -1 when there is none. */
  readonly greedy_mismatch_at: number;
  /** How each example chat compares with the compiler's text and tokens; empty where the bundle has no chats. */
  readonly chats: readonly ChatReport[];
  /** How far logits after a picture are, where the bundle's model sees: as that of a step. */
  readonly picture: PictureReport | null;
  readonly answer: string;
  readonly expected_answer: string | null;
  readonly seconds: number;
  /** Each text of a model of embeddings or scores; such a report has no steps, greedy tokens or chats. */
  readonly texts: readonly TextReport[];
}

export async function validate(engine: Engine): Promise<ValidationReport> {
  const started = performance.now();
  const { tier, activations, model } = engine.info;
  const task = taskOf(engine.info);
  if (task !== "answers") return engine.validateTexts(task);
  const expected = parseValidation(await engine.validation(), model.vocab_size);
  const chats = checkChats(expected.chats ?? [], engine);
  const { tokens, greedy: reference, steps } = expected;
  const [activation, tolerance] = toleranceOf(engine.info, expected.tolerance);

  const results: { relative_difference: number; ok: boolean; argmax: number }[] = [];
  let at = 0;
  for await (const logits of engine.replaySteps(tokens, reference.slice(0, steps.length - 1)))
    results.push(compare(logits, steps[at++]!, tolerance));
  const picture = expected.picture
    ? await checkPicture(engine, expected.picture, (logits, step) => compare(logits, step, tolerance))
    : null;
  await engine.reset();
  const greedy = await engine.greedy(tokens, reference.length);
  const mismatch = firstMismatch(greedy, reference, steps, tolerance);
  return {
    ok: results.every((r) => r.ok) && mismatch < 0 && chats.every((chat) => chat.ok) && (picture?.ok ?? true),
    tier,
    activations,
    activation,
    tolerance,
    max_relative_difference: results.reduce(
      (largest, r) =>
        r.relative_difference > largest || Number.isNaN(r.relative_difference) ? r.relative_difference : largest,
      0,
    ),
    steps: results,
    greedy,
    expected: reference,
    greedy_equal: greedy.join() === reference.join(),
    greedy_mismatch_at: mismatch,
    chats,
    picture,
    answer: engine.decode(greedy),
    expected_answer: expected.answer ?? null,
    seconds: (performance.now() - started) / 1000,
    texts: [],
  };
}

/** The least precise type of sums' terms, and how far logits may be. Throws BundleError where the bundle lacks it. */
export function toleranceOf(
  { tier, activations, kvCacheDtype }: Pick<EngineInfo, "tier" | "activations" | "kvCacheDtype">,
  tolerances: Tolerance,
): [keyof Tolerance, number] {
  const half = tier.startsWith("f16") || kvCacheDtype === "float16";
  const activation = activations !== "float" ? activations : half ? "float16" : "float32";
  const tolerance = tolerances[activation];
  check(tolerance !== undefined, `tolerance.${activation}`, "is missing");
  return [activation, tolerance];
}

/** How far the logits after a step are from its largest. */
export function compare(
  logits: Float32Array,
  step: Step,
  tolerance: number,
): { relative_difference: number; ok: boolean; argmax: number } {
  let worst = 0;
  for (const [token, value] of step.top) {
    const difference = Math.abs(logits[token]! - value) / step.range;
    if (!(difference <= worst)) worst = difference;
  }
  let argmax = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[argmax]!) argmax = i;
  return { relative_difference: worst, ok: worst <= tolerance, argmax };
}

/** Two right answers may differ after a near tie, so the tokens after it are not compared. */
export function firstMismatch(
  greedy: readonly number[],
  reference: readonly number[],
  steps: readonly Step[],
  tolerance: number,
): number {
  const at = reference.findIndex((token, i) => greedy[i] !== token);
  const step = steps[at];
  if (at < 0 || !step) return at;
  const chosen = step.top.find(([token]) => token === greedy[at]);
  return chosen && step.top[0]![1] - chosen[1] <= 2 * tolerance * step.range ? -1 : at;
}

/** A validation whose tokens are the vocabulary's. Throws BundleError, which names the field. */
export function parseValidation(json: unknown, vocabulary: number): ValidationDocument {
  if (json === undefined)
    throw new BundleError("The bundle has no validation file.", "Compile it again, with validation on.");
  const validation = validationDocument(json);
  const checkIds = (path: string, ids: readonly number[]): void =>
    ids.forEach((id, i) => {
      check(id < vocabulary, `${path}[${i}]`, `${id} is outside the vocabulary`);
    });
  checkIds("tokens", validation.tokens);
  checkIds("greedy", validation.greedy);
  validation.steps.forEach(({ top }, i) => {
    checkIds(
      `steps[${i}].top`,
      top.map(([id]) => id),
    );
  });
  validation.chats?.forEach(({ text, refused, tokens }, i) => {
    checkIds(`chats[${i}].tokens`, tokens ?? []);
    check((text === undefined) !== (refused === undefined), `chats[${i}]`, "has either a text or that it is refused");
  });
  const { steps, greedy } = validation;
  check(steps.length === greedy.length, "steps", `${steps.length} for ${greedy.length} greedy tokens`);
  return validation;
}
