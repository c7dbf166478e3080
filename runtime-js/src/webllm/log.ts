// Says what an app's log level lets through, and of what cannot be honoured, each field once.
import { InvalidRequestError } from "../errors.js";
import type { DebugLevel } from "../log.js";
import type { LogLevel } from "./types/engine.js";

const LEVELS: readonly LogLevel[] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "SILENT"];
/** What the engine logs to console.debug. */
const DEBUG: Partial<Record<LogLevel, DebugLevel>> = { TRACE: 4, DEBUG: 3, INFO: 1 };

export class Notes {
  private readonly said = new Set<string>();
  private level: LogLevel = "WARN";

  set(level: LogLevel): void {
    if (!LEVELS.includes(level)) throw new InvalidRequestError("logLevel", `must be one of ${LEVELS.join(", ")}.`);
    this.level = level;
  }

  get debug(): DebugLevel {
    return DEBUG[this.level] ?? 0;
  }

  warn(text: string): void {
    if (LEVELS.indexOf(this.level) <= LEVELS.indexOf("WARN")) console.warn(`mlcweb: ${text}`);
  }

  /** Warns of a field that has no effect, the first time. */
  unused(field: string, why: string): void {
    if (this.said.has(field)) return;
    this.said.add(field);
    this.warn(`${field} has no effect: ${why}`);
  }
}
