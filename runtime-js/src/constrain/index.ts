// This folder holds an answer to a form: JSON of a schema, a regular expression, a grammar, tags in free text. Each
// becomes a grammar, whose automaton says which of the model's tokens may come next. It is a chunk of its own, which is
// fetched when a request asks for it.
import type { AnswerFormat, AnswerRules } from "../chat/response_format.js";
import type { Constraint } from "../decode/index.js";
import { InvalidRequestError } from "../errors.js";
import type { TextCodec } from "../text/codec.js";
import { ConstrainedGrammar } from "./answer.js";
import { Automaton, TooAmbiguousError } from "./automaton.js";
import { Combined } from "./combine.js";
import { choice, EMPTY, type Grammar, itemsOf, type Node, sequence, text, without } from "./grammar.js";
import { compileGrammar, TooLargeError } from "./program.js";
import { schemaGrammar } from "./schema/index.js";
import { ebnfGrammar, regexNode, structuralGrammar } from "./syntax/index.js";
import { LONGEST } from "./trie.js";
import { Vocabulary } from "./vocabulary.js";

/** Grammars that are kept, with their masks. */
const KEPT = 8;

/** What answers of one model are held with. */
export class Constrainer {
  private readonly vocabulary: Vocabulary;
  private readonly grammars = new Map<string, ConstrainedGrammar>();

  constructor(codec: TextCodec, vocabSize: number, stopTokens: readonly number[]) {
    this.vocabulary = new Vocabulary(codec, vocabSize, new Set(stopTokens));
  }

  /** Makes new answers of the rules. Throws InvalidRequestError for what has no answer or is not supported. */
  prepare(rules: AnswerRules): () => Constraint {
    const key = keyOf(rules);
    const known = this.grammars.get(key) ?? this.compile(rules);
    this.grammars.delete(key); // and put at the end: the one used longest ago goes first
    this.grammars.set(key, known);
    if (this.grammars.size > KEPT) this.grammars.delete(this.grammars.keys().next().value!);
    return () => known.begin();
  }

  private compile(rules: AnswerRules): ConstrainedGrammar {
    const { field } = rules.formats[0]!;
    try {
      const grammar = grammarOfRules(rules);
      const automaton = new Automaton(compileGrammar(grammar), LONGEST + 1);
      return new ConstrainedGrammar(
        automaton,
        this.vocabulary,
        this.vocabulary.specialsIn([...textsOf(grammar)]),
        field,
      );
    } catch (error) {
      if (error instanceof TooLargeError) throw new InvalidRequestError(field, "is too large.");
      if (error instanceof TooAmbiguousError) throw new InvalidRequestError(field, "can be read in too many ways.");
      throw error;
    }
  }
}

/** Throws InvalidRequestError for what is no JSON, such as a schema that contains itself. */
function keyOf(rules: AnswerRules): string {
  try {
    return JSON.stringify(rules);
  } catch (cause) {
    throw new InvalidRequestError(rules.formats[0]!.field, `is not JSON: ${(cause as Error).message}`);
  }
}

const closedSchema = (schema: unknown, field: string): Grammar => schemaGrammar(schema, { path: field, closed: true });

/** One of the formats, after reasoning where the model reasons. */
export function grammarOfRules({ formats, reasoning }: AnswerRules): Grammar {
  const combined = new Combined();
  const answer = choice(...formats.map((format) => combined.add(grammarOf(format))));
  if (!reasoning) return { start: answer, rules: combined.rules };
  const { begin, end, opened } = reasoning;
  const thought = sequence(text(opened ? "" : begin), without(end), text(end), choice(text("\n\n"), text("\n"), EMPTY));
  const start = sequence(opened ? thought : choice(thought, EMPTY), answer);
  return { start, rules: combined.rules };
}

function grammarOf(format: AnswerFormat): Grammar {
  const { field } = format;
  switch (format.kind) {
    case "schema":
      return closedSchema(format.schema, field);
    case "regex":
      return { start: regexNode(format.regex, field, { anchored: true }), rules: new Map() };
    case "grammar":
      return ebnfGrammar(format.grammar, field);
    case "tags":
      return structuralGrammar(format.tags, field, closedSchema);
  }
}

/** Every text that the grammar has. */
function textsOf({ start, rules }: Grammar): Set<string> {
  const texts = new Set<string>(),
    seen = new Set<Node>(),
    todo: Node[] = [start, ...rules.values()];
  for (let node = todo.pop(); node; node = todo.pop()) {
    if (seen.has(node)) continue; // grammars share nodes
    seen.add(node);
    if (node.op === "text") texts.add(node.text);
    else if (node.op === "without") for (const text of node.texts) texts.add(text);
    else for (const item of itemsOf(node)) todo.push(item);
  }
  return texts;
}
