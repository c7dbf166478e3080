// Loads what computes right: at the first load on a device the first steps of the bundle's validation are replayed and
// compared. A GPU that is wrong does not say so, and there are drivers and browsers with such faults.
import { GpuError, NetworkError } from "../errors.js";
import type { Engine } from "./engine.js";
import type { LoadOptions } from "./options.js";
import { taskOf } from "./tasks.js";
import { compare, firstMismatch, parseValidation, toleranceOf } from "./validate.js";
import { Verdicts } from "./verdicts.js";

/** Steps that are compared: prefill's, and decode's after it. */
const STEPS = 4;

/** Opens an engine, and another where its kernels are wrong here, until one is right. Throws WrongResultsError where
 * none is. */
export async function loadRight(
  { selfCheck, onWarning }: Pick<LoadOptions, "selfCheck" | "onWarning">,
  open: (verdicts?: Verdicts) => Promise<Engine>,
): Promise<Engine> {
  if (selfCheck === false) return open();
  const verdicts = new Verdicts(onWarning);
  for (;;) {
    const engine = await open(verdicts);
    try {
      if (await engine.checkItself(verdicts)) return engine;
    } catch (error) {
      await engine.unload();
      throw error;
    }
    await engine.unload();
  }
}

export interface Finding {
  readonly ok: boolean;
  /** As `ValidationReport.max_relative_difference`. */
  readonly difference: number;
}

/** What the check finds; undefined where there is nothing to compare with. */
export async function findFaults(engine: Engine): Promise<Finding | undefined> {
  let validation: unknown;
  try {
    validation = await engine.validation();
  } catch (error) {
    if (error instanceof NetworkError) return undefined; // a kept bundle, offline
    throw error;
  }
  if (validation === undefined) return undefined;
  try {
    const task = taskOf(engine.info);
    return task === "answers" ? await replayFirst(engine, validation) : await compareTexts(engine, validation);
  } catch (error) {
    if (error instanceof GpuError) return { ok: false, difference: NaN }; // such as a token that is none
    throw error;
  }
}

async function replayFirst(engine: Engine, validation: unknown): Promise<Finding | undefined> {
  const { contextLength, model } = engine.info;
  const expected = parseValidation(validation, model.vocab_size);
  const steps = expected.steps.slice(0, STEPS);
  const { tokens } = expected;
  const reference = expected.greedy.slice(0, steps.length);
  if (tokens.length + steps.length > contextLength) return undefined;
  const [, tolerance] = toleranceOf(engine.info, expected.tolerance);
  let difference = 0;
  let at = 0;
  for await (const logits of engine.replaySteps(tokens, reference.slice(0, -1))) {
    const { relative_difference: found } = compare(logits, steps[at++]!, tolerance);
    if (!(found <= difference)) difference = found;
    if (Number.isNaN(found)) break;
  }
  const sampled = await engine.greedy(tokens, steps.length);
  const same = firstMismatch(sampled, reference, steps, tolerance) < 0;
  return { ok: difference <= tolerance && same, difference };
}

async function compareTexts(engine: Engine, validation: unknown): Promise<Finding> {
  const task = taskOf(engine.info) as Exclude<ReturnType<typeof taskOf>, "answers">;
  const { texts, tolerance, max_relative_difference: difference } = await engine.validateTexts(task, validation);
  return { ok: texts.every((text) => text.relative_difference <= tolerance), difference };
}
