// JSON Schema's official test suite, which the fixture holds for two drafts (MIT, see its LICENSE; from the jsonschema
// 4.26.0 package). Each schema is refused by name, or all of its instances are judged rightly.
import { readFileSync } from "node:fs";
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

describe.each(["draft2020-12", "draft7"])("the official suite of %s", (draft) => {
  const files: Record<string, Group[]> = JSON.parse(
    readFileSync(new URL(`json_schema_suite/${draft}.json`, import.meta.url), "utf8"),
  );
  it("is judged rightly wherever the schema is not refused by name", () => {
    let right = 0;
    const refused = new Map<string, number>();
    const wrong: string[] = [];
    for (const [file, groups] of Object.entries(files))
      for (const { description, schema, tests } of groups) {
        let automaton: Automaton;
        try {
          automaton = new Automaton(compileGrammar(schemaGrammar(schema)));
        } catch (error) {
          if (!(error instanceof InvalidRequestError)) throw new Error(`${file}: ${description}`, { cause: error });
          if (/no value is valid/.test(error.message)) {
            for (const { data, valid } of tests)
              if (valid) wrong.push(`${file}: ${description}: unsatisfiable, but valid: ${JSON.stringify(data)}`);
              else right++;
            continue;
          }
          const keyword = error.param.split(".").at(-1)!;
          refused.set(keyword, (refused.get(keyword) ?? 0) + tests.length);
          if (process.env.LIST) console.log(`refused ${file}: ${description}: ${error.message}`);
          continue;
        }
        for (const { description: about, data, valid } of tests) {
          const accepted = spellings(data, schema).some((text) => accepts(automaton, encoder.encode(text)));
          if (accepted === valid) right++;
          else wrong.push(`${file}: ${description}: ${about}: ${JSON.stringify(data)?} ${accepted ? "is accepted" : "is not"}`);
        }
      }
    console.log(`${draft}: right ${right}, wrong ${wrong.length}, refused by name`, Object.fromEntries(refused));
    expect(wrong).toEqual([]);
  });
});
