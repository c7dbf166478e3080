// Renders a parsed template, with jinja2's scopes, loops and macros.
import type { Arguments, Expression, Signature, Statement, Target } from "./ast.js";
import { applyFilter } from "./filters.js";
import { attribute, item } from "./lookup.js";
import { Loop, Namespace } from "./objects.js";
import { binary, compare, negative, slice, use } from "./operators.js";
import { applyTest } from "./tests.js";
import { str } from "./text.js";
import {
  bind,
  Dict,
  Float,
  fail,
  iterate,
  type Named,
  NONE,
  PyObject,
  truth,
  tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.js";

class Scope {
  readonly names = new Map<string, Value>();
  constructor(private readonly parent?: Scope) {}
  get(name: string): Value | undefined {
    return this.names.get(name) ?? this.parent?.get(name);
  }
}

/** What ends a loop's iteration early. */
type Jump = "break" | "continue" | undefined;

/** The text of a template. Throws TemplateError where Python would raise. */
export function render(template: readonly Statement[], variables: Iterable<readonly [string, Value]>): string {
  const scope = new Scope();
  for (const [name, value] of variables) scope.names.set(name, value);
  return text(template, new Scope(scope));
}

/** What statements print, in a scope that is theirs. */
function text(body: readonly Statement[], scope: Scope): string {
  const out: string[] = [];
  run(body, scope, out);
  return out.join("");
}

function run(body: readonly Statement[], scope: Scope, out: string[]): Jump {
  for (const statement of body) {
    const jump = execute(statement, scope, out);
    if (jump) return jump;
  }
  return undefined;
}

function execute(statement: Statement, scope: Scope, out: string[]): Jump {
  switch (statement.kind) {
    case "text":
      out.push(statement.text);
      return undefined;
    case "print":
      out.push(str(evaluate(statement.value, scope)));
      return undefined;
    case "if": {
      const branch = statement.branches.find(({ test }) => test === undefined || truth(evaluate(test, scope)));
      return branch && run(branch.body, scope, out);
    }
    case "for":
      return loop(statement, scope, out, evaluate(statement.iterable, scope), 0);
    case "set":
      assign(statement.target, evaluate(statement.value, scope), scope);
      return undefined;
    case "set-block": {
      const inner: string[] = [];
      const jump = run(statement.body, new Scope(scope), inner);
      if (jump) return jump;
      assign(
        statement.target,
        statement.filter ? evaluate(statement.filter, scope, inner.join("")) : inner.join(""),
        scope,
      );
      return undefined;
    }
    case "filter-block": {
      const inner: string[] = [];
      const jump = run(statement.body, new Scope(scope), inner);
      if (!jump) out.push(str(evaluate(statement.filter, scope, inner.join(""))));
      return jump;
    }
    case "macro":
      scope.names.set(statement.name, macro(statement.name, statement.signature, scope));
      return undefined;
    case "call-block": {
      const { call } = statement;
      const caller = macro("caller", statement.signature, scope);
      if (call.kind === "call") out.push(str(invoke(call.callee, call.args, scope, caller)));
      return undefined;
    }
    case "with": {
      const inner = new Scope(scope);
      for (const [target, value] of statement.targets.map(
        ([name, expression]) => [name, evaluate(expression, scope)] as const,
      ))
        assign(target, value, inner);
      return run(statement.body, inner, out);
    }
    default:
      return statement.kind;
  }
}

function loop(
  statement: Extract<Statement, { kind: "for" }>,
  scope: Scope,
  out: string[],
  iterable: Value,
  depth: number,
): Jump {
  const again = (values: Value): Value => {
    const inner: string[] = [];
    loop(statement, scope, inner, values, depth + 1);
    return inner.join("");
  };
  const state = new Loop(filtered(statement, scope, iterable), depth, statement.recursive ? again : undefined);
  // jinja2's `else` also follows a loop whose every iteration was left early.
  let completed = false;
  while (state.advance()) {
    const inner = new Scope(scope);
    inner.names.set("loop", state);
    assign(statement.target, state.value, inner);
    const jump = run(statement.body, inner, out);
    if (jump === "break") break;
    completed ||= jump === undefined;
  }
  return completed ? undefined : run(statement.otherwise, new Scope(scope), out);
}

function* filtered(
  { target, test }: Extract<Statement, { kind: "for" }>,
  scope: Scope,
  iterable: Value,
): IterableIterator<Value> {
  for (const value of iterate(iterable)) {
    const inner = new Scope(scope);
    if (test) assign(target, value, inner);
    if (!test || truth(evaluate(test, inner))) yield value;
  }
}

function assign(target: Target, value: Value, scope: Scope): void {
  if (target.kind === "name") scope.names.set(target.name, value);
  else if (target.kind === "attribute") {
    const object = scope.get(target.object);
    if (!(object instanceof Namespace)) fail("cannot assign attribute on non-namespace object");
    object.values.set(target.name, value);
  } else {
    const values = [...iterate(value)];
    if (values.length !== target.items.length) fail(`${values.length} values for ${target.items.length} names`);
    for (const [i, each] of target.items.entries()) assign(each, values[i]!, scope);
  }
}

/** A macro, or the body of a call block. */
function macro(
  name: string,
  { names, defaults, body, special }: Signature,
  outer: Scope,
): (args: readonly Value[], named: Named) => Value {
  return (args, named) => {
    const scope = new Scope(outer);
    const rest = args.slice(names.length);
    if (rest.length > 0 && !special.has("varargs"))
      fail(`macro '${name}' takes not more than ${names.length} argument(s)`);
    const known = new Map([...named].filter(([key]) => names.includes(key)));
    const other = new Map([...named].filter(([key]) => !names.includes(key)));
    if (special.has("caller")) {
      scope.names.set("caller", other.get("caller") ?? new Undefined("No caller defined"));
      other.delete("caller");
    }
    if (other.size > 0 && !special.has("kwargs"))
      fail(`macro '${name}' takes no keyword argument '${[...other.keys()][0]}'`);
    if (special.has("varargs")) scope.names.set("varargs", tuple(...rest));
    if (special.has("kwargs")) scope.names.set("kwargs", new Dict(other));
    bind(`macro '${name}'`, names, args.slice(0, names.length), known).forEach((value, i) => {
      const standard = defaults[i - (names.length - defaults.length)];
      scope.names.set(
        names[i]!,
        value ?? (standard ? evaluate(standard, scope) : new Undefined(`parameter '${names[i]}' was not provided`)),
      );
    });
    return text(body, scope);
  };
}

/** `input` is what a filter block printed. */
function evaluate(expression: Expression, scope: Scope, input?: string): Value {
  const value = (inner: Expression): Value => evaluate(inner, scope, input);
  switch (expression.kind) {
    case "constant":
      return expression.value;
    case "float":
      return new Float(expression.value);
    case "name":
      return scope.get(expression.name) ?? new Undefined(`'${expression.name}' is undefined`);
    case "list":
      return expression.items.map(value);
    case "tuple":
      return tuple(...expression.items.map(value));
    case "dict":
      return new Dict(expression.items.map(([key, each]) => [value(key), value(each)] as const));
    case "concat":
      return expression.items.map((each) => str(value(each))).join("");
    case "attribute":
      return attribute(value(expression.object), expression.name);
    case "item": {
      const object = value(expression.object);
      if (expression.key.kind === "slice") return slice(object, sliceOf(expression.key.parts, value));
      return item(object, value(expression.key));
    }
    case "slice":
      return fail("a slice is only for a subscript");
    case "call":
      return invoke(expression.callee, expression.args, scope);
    case "filter": {
      const from = expression.value ? value(expression.value) : (input ?? fail("a filter without a value"));
      const [args, named] = given(expression.args, scope);
      return applyFilter(expression.name, from, args, named);
    }
    case "test": {
      const from = value(expression.value);
      const [args, named] = given(expression.args, scope);
      return applyTest(expression.name, from, args, named);
    }
    case "unary":
      return expression.operator === "not"
        ? !truth(value(expression.value))
        : negative(value(expression.value), expression.operator);
    case "binary": {
      const left = value(expression.left);
      if (expression.operator === "and") return truth(left) ? value(expression.right) : left;
      if (expression.operator === "or") return truth(left) ? left : value(expression.right);
      return binary(expression.operator, left, value(expression.right));
    }
    case "compare": {
      let left = value(expression.first);
      return expression.rest.every(([operator, next]) => {
        const right = value(next);
        const holds = compare(operator, left, right);
        left = right;
        return holds;
      });
    }
    case "condition": {
      if (truth(value(expression.test))) return value(expression.then);
      return expression.otherwise
        ? value(expression.otherwise)
        : new Undefined("the inline if-expression evaluated to false and no else section was defined.");
    }
  }
}

function sliceOf(parts: readonly (Expression | undefined)[], value: (part: Expression) => Value): Value[] {
  return parts.map((part) => (part ? value(part) : NONE));
}

function given(args: Arguments, scope: Scope): [Value[], Map<string, Value>] {
  const positional = args.positional.map((each) => evaluate(each, scope));
  if (args.list) positional.push(...iterate(evaluate(args.list, scope)));
  const named = new Map(args.named.map(([name, each]) => [name, evaluate(each, scope)] as const));
  if (args.dict) {
    const more = evaluate(args.dict, scope);
    if (!(more instanceof Dict)) return fail(`argument after ** must be a mapping, not ${typeName(more)}`);
    for (const [name, each] of more.items()) named.set(String(name), each);
  }
  return [positional, named];
}

function invoke(callee: Expression, args: Arguments, scope: Scope, caller?: Value): Value {
  const target = evaluate(callee, scope);
  use(target);
  const [positional, named] = given(args, scope);
  if (caller !== undefined) named.set("caller", caller);
  if (typeof target === "function") return target(positional, named);
  if (target instanceof PyObject && target.call) return target.call(positional, named);
  return fail(`'${typeName(target)}' object is not callable`);
}
