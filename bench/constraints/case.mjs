// One constraint in a process of its own (it may hang, abort or eat memory): compiles it, follows an answer, and prints
// one line of JSON. usage: node case.mjs TOKENIZER EOS usual|hostile NAME
import { HOSTILE, USUAL } from "./cases.mjs";
import { load } from "./library.mjs";
import { vocabulary } from "./vocabulary.mjs";

const [file, eos, set, name] = process.argv.slice(2);
const messages = [];
console.error = (...words) => messages.push(words.join(" "));
console.log = console.error;
const { kind, source, answer } = (set === "usual" ? USUAL : HOSTILE)[name];
const library = await load();
const { tokens, type, encode } = vocabulary(file);
const [info, tokenizerMs] = await timed(() =>
  library.TokenizerInfo.createTokenizerInfo(tokens, type, false, tokens.length, [Number(eos)]),
);
const compiler = await library.GrammarCompiler.createGrammarCompiler(info, false);
const result = { tokenizerMs, megabytes: [library.megabytes()] };
try {
  const [compiled, compileMs] = await timed(() => compile(kind, source));
  Object.assign(result, { compileMs });
  const matcher = await library.GrammarMatcher.createGrammarMatcher(compiled, [Number(eos)]);
  const [mask, firstMaskMs] = await timed(() => matcher.getNextTokenBitmask());
  Object.assign(result, { firstMaskMs, allowed: count(mask), forced: matcher.findJumpForwardString() });
  if (set === "usual") Object.assign(result, await follow(matcher, compiled, encode(answer)));
} catch (error) {
  result.error = `${error.name ?? typeof error}: ${error.message ?? error}`.slice(0, 60);
}
result.megabytes.push(library.megabytes());
result.message = messages
  .find((line) => line.includes("FATAL") || line.includes("WARNING"))
  ?.replace(/^.*?cc:\d+: /, "")
  .slice(0, 110);
if (result.error) result.after = await afterwards();
process.stdout.write(JSON.stringify(result));

function compile(sort, text) {
  if (sort === "schema") return compiler.compileJSONSchema(text, true, -1, undefined, false);
  if (sort === "regex") return compiler.compileStructuralTag({ type: "regex", pattern: text });
  return compiler.compileGrammar(text);
}

/** Times each token of an answer, and what a pipeline needs: rollback, a second matcher at the same place. */
async function follow(matcher, compiled, answer) {
  const masks = [];
  const accepts = [];
  const forces = [];
  let forcedTokens = 0;
  for (const token of answer) {
    const [mask, ms] = await timed(() => matcher.getNextTokenBitmask());
    if (!(mask[token >> 5] & (1 << (token & 31)))) throw Error(`the mask refuses token ${token}`);
    if (count(mask) === 1) forcedTokens++;
    masks.push(ms);
    forces.push((await timed(() => matcher.findJumpForwardString()))[1]);
    const [accepted, acceptMs] = await timed(() => matcher.acceptToken(token));
    if (!accepted) throw Error(`token ${token} was refused`);
    accepts.push(acceptMs);
  }
  const before = await matcher.getNextTokenBitmask();
  const steps = Math.min(16, answer.length);
  const [, rollbackMs] = await timed(() => matcher.rollBack(steps));
  for (const token of answer.slice(-steps)) matcher.acceptToken(token);
  const same = String(before) === String(await matcher.getNextTokenBitmask());
  const [copy, copyMs] = await timed(async () => {
    const made = await library.GrammarMatcher.createGrammarMatcher(compiled, [Number(eos)]);
    for (const token of answer) made.acceptToken(token);
    return made;
  });
  const copied = String(before) === String(await copy.getNextTokenBitmask());
  const stops = Boolean(before[Number(eos) >> 5] & (1 << (Number(eos) & 31)));
  const ended = matcher.acceptToken(Number(eos)) && matcher.isTerminated();
  return {
    tokens: answer.length,
    mask: spread(masks),
    accept: spread(accepts),
    forceCall: spread(forces),
    forcedTokens,
    rollbackMs,
    rollbackSame: same,
    copyMs,
    copySame: copied,
    stops,
    ended,
  };
}

/** Whether the module still compiles and matches after an abort, and as before. */
async function afterwards() {
  try {
    const compiled = await compiler.compileJSONSchema('{"type":"boolean"}', false);
    const matcher = await library.GrammarMatcher.createGrammarMatcher(compiled, undefined, true);
    return matcher._acceptString("true") && matcher.isTerminated() ? "works" : "wrong";
  } catch (error) {
    return `broken: ${error.message}`.slice(0, 40);
  }
}

async function timed(act) {
  const start = performance.now();
  const value = await act();
  return [value, performance.now() - start];
}

function spread(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return { median: sorted[sorted.length >> 1], p99: sorted[Math.floor(sorted.length * 0.99)] };
}

function count(mask) {
  let bits = 0;
  for (let word of mask) for (; word; word &= word - 1) bits++;
  return bits;
}
