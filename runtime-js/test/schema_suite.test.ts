// JSON Schema's official test suite, which the fixture holds for two drafts (MIT, see its LICENSE; from the jsonschema
// 4.26.0 package). Each schema is refused by name, or all of its instances are judged rightly.
/// <reference types="vite/client" />
import { describe, expect, it } from "vitest";
import { Automaton, accepts } from "../src/constrain/automaton.js";
import { compileGrammar } from "../src/constrain/program.js";
import { schemaGrammar } from "../src/constrain/schema/index.js";
import { InvalidRequestError } from "../src/errors.js";
import { spellings } from "./json_texts.js";

interface Group {
  readonly description: string;
  readonly schema: unknown;
  readonly tests: readonly { readonly description: string; readonly data: unknown; readonly valid: boolean }[];
}
const encoder = new TextEncoder();
/** As text: a module would take the key __proto__ for something else. */
const suites = import.meta.glob<string>("./json_schema_suite/*.json", {
  eager: true,
  query: "?raw",
  import: "default",
});

/** Files in which a valid text may be left out: formats are asserted here, and leave out rare texts that they allow. */
const NARROWER = /^format$|^optional\/(format\/|float-overflow$)/;
/** Draft 7 lets a validator assert these annotations; later drafts do not, nor does the engine. */
const ANNOTATIONS = ["optional/content"];
const DRAFTS = [
  { draft: "draft2020-12", right: 1362, narrower: 23, refused: 521 },
  { draft: "draft7", right: 1106, narrower: 8, refused: 341 },
];

function judge(draft: string) {
  const files: Record<string, Group[]> = JSON.parse(suites[`./json_schema_suite/${draft}.json`]!);
  let right = 0;
  const refused = new Map<string, number>();
  const wrong: string[] = [];
  const narrower: string[] = [];
  for (const [file, groups] of Object.entries(files)) {
    if (ANNOTATIONS.includes(file)) continue;
    for (const { description, schema, tests } of groups) {
      const dialect = draft === "draft7" && typeof schema === "object";
      const automaton = compiled(dialect ? { $schema: "http://json-schema.org/draft-07/schema#", ...schema } : schema);
      if (typeof automaton === "string") {
        refused.set(automaton, (refused.get(automaton) ?? 0) + tests.length);
        continue;
      }
      for (const { description: about, data, valid } of tests) {
        const accepted = automaton && spellings(data, schema).some((text) => accepts(automaton, encoder.encode(text)));
        if ((accepted ?? false) === valid) right++;
        else (valid && NARROWER.test(file) ? narrower : wrong).push(`${file}: ${description}: ${about}`);
      }
    }
  }
  return { right, wrong, narrower, refused };
}

/** The keyword that refuses it; undefined where it says that nothing is valid. */
function compiled(schema: unknown): Automaton | string | undefined {
  try {
    return new Automaton(compileGrammar(schemaGrammar(schema)));
  } catch (error) {
    if (!(error instanceof InvalidRequestError)) throw error;
    if (error.message.includes("no value is valid")) return undefined;
    return error.param.split(".").at(-1)!;
  }
}

describe.each(DRAFTS)("the official suite of $draft", ({ draft, ...counts }) => {
  it("is judged rightly wherever the schema is not refused by name", () => {
    const { right, wrong, narrower, refused } = judge(draft);
    const sum = [...refused.values()].reduce((total, count) => total + count, 0);
    console.log(`${draft}: right ${right}, wrong ${wrong.length}, narrower ${narrower.length}, refused ${sum}:`);
    console.log(
      [...refused]
        .sort((a, b) => b[1] - a[1])
        .map(([keyword, count]) => `${keyword} ${count}`)
        .join(", "),
    );
    expect(wrong).toEqual([]);
    expect({ right, narrower: narrower.length, refused: sum }).toEqual(counts);
  });
});
