// Replays a bundle's validation.json: example chats are rendered again, the logits of every step are compared with the
// host reference's, and the real loop gives its greedy answer.
import { array, check, integer, object } from "../bundle/fields.js";
import { BundleError } from "../errors.js";
import type { Activations } from "./activations.js";
import { type ChatReport, checkChats } from "./chats.js";
import type { Engine } from "./engine.js";

export interface ValidationReport {
  readonly ok: boolean;
  readonly tier: string;
  readonly activations: Activations;
  /** The least precise type of its sums' terms: the tolerance is by it. */
  readonly activation: "float16" | "float32" | "int8" | "matrix";
  readonly tolerance: number;
  /** The largest |difference| / range of any step. */
  readonly max_relative_difference: number;
  readonly steps: readonly { readonly relative_difference: number; readonly ok: boolean; readonly argmax: number }[];
  readonly greedy: readonly number[];
  readonly expected: readonly number[];
  readonly greedy_equal: boolean;
  /** The first step whose token differs without a near tie in the reference to excuse it; -1 when there is none. */
  readonly greedy_mismatch_at: number;
  /** Example chats against the compiler's text and tokens; none for bundles of before it made any. */
  readonly chats: readonly ChatReport[];
  readonly answer: string;
  readonly expected_answer: string | null;
  readonly seconds: number;
}

interface Step {
  readonly top: readonly (readonly [number, number])[];
  readonly range: number;
}

export async function validate(engine: Engine): Promise<ValidationReport> {
  const started = performance.now();
  const { tier, activations, model, kvCacheDtype } = engine.info;
  const activation =
    activations !== "float"
      ? activations
      : tier.startsWith("f16") || kvCacheDtype === "float16"
        ? "float16"
        : "float32";
  const json = await engine.validation();
  const expected = parse(json, activation, model.vocab_size);
  const chats = checkChats((json as { chats?: unknown }).chats, engine);
  const { tokens, greedy: reference, steps, tolerance } = expected;

  const results: { relative_difference: number; ok: boolean; argmax: number }[] = [];
  let at = 0;
  for await (const logits of engine.replaySteps(tokens, reference.slice(0, steps.length - 1)))
    results.push(compare(logits, steps[at++]!, tolerance));
  await engine.reset();
  const greedy = await engine.greedy(tokens, reference.length);
  const mismatch = firstMismatch(greedy, reference, steps, tolerance);
  return {
    ok: results.every((r) => r.ok) && mismatch < 0 && chats.every((chat) => chat.ok),
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
    answer: engine.decode(greedy),
    expected_answer: expected.answer,
    seconds: (performance.now() - started) / 1000,
  };
}

function compare(
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

/** After a near tie two right answers part, so what follows is not compared. */
function firstMismatch(
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

function parse(
  json: unknown,
  activation: ValidationReport["activation"],
  vocab: number,
): { tokens: number[]; greedy: number[]; steps: Step[]; tolerance: number; answer: string | null } {
  if (json === undefined)
    throw new BundleError("The bundle has no validation file.", "Compile it again, with validation on.");
  const top = object(json, "validation");
  const ids = (value: unknown, path: string): number[] =>
    array(value, path).map((id, i) => integer(id, `${path}[${i}]`, 0, vocab - 1));
  const number = (value: unknown, path: string): number => {
    check(typeof value === "number" && Number.isFinite(value), path, "must be a number");
    return value;
  };
  const steps = array(top.steps, "validation.steps", 10_000).map((item, i): Step => {
    const step = object(item, `validation.steps[${i}]`);
    const pairs = array(step.top, `validation.steps[${i}].top`, 1000).map((pair) => {
      const [token, value] = array(pair, `validation.steps[${i}].top`, 2);
      return [integer(token, "validation token", 0, vocab - 1), number(value, "validation logit")] as const;
    });
    check(pairs.length > 0, `validation.steps[${i}].top`, "is empty");
    return { top: pairs, range: number(step.range, `validation.steps[${i}].range`) };
  });
  check(steps.length > 0, "validation.steps", "is empty");
  return {
    tokens: ids(top.tokens, "validation.tokens"),
    greedy: ids(top.greedy, "validation.greedy"),
    steps,
    tolerance: number(object(top.tolerance, "validation.tolerance")[activation], `validation.tolerance.${activation}`),
    answer: typeof top.answer === "string" ? top.answer : null,
  };
}
