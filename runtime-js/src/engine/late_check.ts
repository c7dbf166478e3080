// Asks whether a bundle runs here; what answers is fetched when a page first asks.
import type { CheckOptions, EngineCheck } from "../check/index.js";
import type { CataloguedModel } from "./catalogued.js";
import { fetchCode } from "./late_code.js";

export async function checkModel(source: string | CataloguedModel, options: CheckOptions = {}): Promise<EngineCheck> {
  const { check } = await fetchCode(import("../check/index.js"), "What checks models", "check", "ask on the page.");
  return check(source, options);
}
