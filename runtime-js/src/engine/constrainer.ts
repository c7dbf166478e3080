// Fetches what holds answers to rules when the first request has some.
import type { AnswerRules } from "../chat/index.js";
import type { Constrainer } from "../constrain/index.js";
import type { Constraint } from "../decode/index.js";
import type { Answering } from "./held.js";
import { fetchCode } from "./late_code.js";
import type { LoadOptions } from "./options.js";

export class LazyConstrainer {
  private made: Promise<Constrainer> | undefined;

  /** `alive` gives what is loaded, or throws; `given` is the code, where it cannot be fetched. */
  constructor(
    private readonly alive: () => Answering,
    private readonly given: LoadOptions["constrain"],
  ) {}

  async prepare(rules: AnswerRules): Promise<() => Constraint> {
    const few = this.alive().model.prepareFew?.();
    const { given } = this;
    this.made ??= (given ? Promise.resolve(given) : import("../constrain/index.js")).then(({ Constrainer }) => {
      const { codec, model, manifest } = this.alive();
      return new Constrainer(codec, model.vocabSize, manifest.tokenizer.eosTokenIds);
    });
    const constrainer = await fetchCode(this.made, "What constrains answers", "constrain").catch((error) => {
      this.made = undefined; // the next request fetches it again
      throw error;
    });
    await few;
    this.alive();
    return constrainer.prepare(rules);
  }

  forget(): void {
    this.made = undefined;
  }
}
