// Logs what an engine does to the browser's console, where the load option `debug` asks for it.
import { InvalidRequestError } from "./errors.js";

/** 1: the stages of loading with times; 2: also what was chosen and why; 3: also each pipeline that is compiled;
 * 4: also each step's launches. */
export type DebugLevel = 0 | 1 | 2 | 3 | 4;

type Texts = typeof import("./debug/texts.js");

export class Log {
  private constructor(
    readonly level: number,
    private readonly texts?: Texts,
  ) {}

  static readonly silent = new Log(0);

  /** Fetches the texts, a chunk of its own in the split build, where any is asked for. Throws InvalidRequestError for
   * what is no level. */
  static async open(level: number = 0): Promise<Log> {
    if (![0, 1, 2, 3, 4].includes(level)) throw new InvalidRequestError("debug", "must be an integer from 0 to 4.");
    return level ? new Log(level, await import("./debug/texts.js")) : Log.silent;
  }

  /** `text` is called only where the level is asked for. */
  say(level: DebugLevel, text: (texts: Texts) => string): void {
    if (level <= this.level) console.debug(`mlcweb ${text(this.texts!)}`);
  }

  /** The work's result; says at `level` what it took. */
  async timed<T>(level: DebugLevel, name: string, work: Promise<T>): Promise<T> {
    const start = performance.now();
    const result = await work;
    this.say(level, ({ took }) => took(name, performance.now() - start));
    return result;
  }
}
