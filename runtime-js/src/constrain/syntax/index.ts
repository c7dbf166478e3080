// This folder reads what people write for an answer's form: regular expressions, EBNF grammars, structural tags. Each
// becomes a grammar.
export { ebnfGrammar } from "./ebnf.js";
export { regexNode } from "./regex.js";
export { structuralGrammar } from "./structural.js";
