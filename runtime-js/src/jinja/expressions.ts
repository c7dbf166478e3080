// Parses expressions, in jinja2's grammar and order of precedence.
import type { Arguments, Expression } from "./ast.js";
import { type Token, tokenize, unquote } from "./lexer.js";
import { NONE, TemplateError } from "./values.js";

const CONSTANTS = new Map<string, boolean | typeof NONE>([
  ["true", true],
  ["True", true],
  ["false", false],
  ["False", false],
  ["none", NONE],
  ["None", NONE],
]);
const NO_ARGUMENTS: Arguments = { positional: [], named: [] };

export class Expressions {
  private readonly tokens: readonly Token[];
  private at = 0;
  /** Names that are read, for each macro that the parser is in. */
  protected readonly mentioned: Set<string>[] = [];

  constructor(template: string) {
    this.tokens = tokenize(template);
  }

  protected get token(): Token {
    return this.tokens[this.at]!;
  }
  protected look(ahead = 1): Token {
    return this.tokens[Math.min(this.at + ahead, this.tokens.length - 1)]!;
  }
  protected next(): Token {
    const token = this.token;
    if (this.at < this.tokens.length - 1) this.at++;
    return token;
  }
  protected is(type: Token["type"], ...values: readonly string[]): boolean {
    return this.token.type === type && (values.length === 0 || values.includes(this.token.value));
  }
  protected skip(type: Token["type"], value: string): boolean {
    const found = this.is(type, value);
    if (found) this.next();
    return found;
  }
  protected expect(type: Token["type"], value?: string): Token {
    if (!this.is(type, ...(value === undefined ? [] : [value])))
      this.fail(`expected ${value ?? type}, got ${this.token.value || "the end"}`);
    return this.next();
  }
  protected fail(message: string): never {
    throw new TemplateError(`${message} (line ${this.token.line})`);
  }

  /** One expression, or several with commas: a tuple. Empty ones only in parentheses. */
  protected tuple(condition = true, ends: readonly string[] = [], parentheses = false): Expression {
    const items: Expression[] = [];
    let comma = false;
    for (;;) {
      if (
        this.is("print-end") ||
        this.is("block-end") ||
        this.is("operator", ")") ||
        (this.is("name", ...ends) && ends.length > 0)
      )
        break;
      items.push(this.expression(condition));
      if (!this.skip("operator", ",")) break;
      comma = true;
    }
    if (!comma && items.length === 1) return items[0]!;
    if (items.length === 0 && !parentheses) this.fail(`expected an expression, got ${this.token.value || "the end"}`);
    return { kind: "tuple", items };
  }

  protected expression(condition = true): Expression {
    let then = this.or();
    while (condition && this.skip("name", "if")) {
      const test = this.or();
      then = { kind: "condition", test, then, otherwise: this.skip("name", "else") ? this.expression() : undefined };
    }
    return then;
  }

  private or(): Expression {
    let left = this.and();
    while (this.skip("name", "or")) left = { kind: "binary", operator: "or", left, right: this.and() };
    return left;
  }

  private and(): Expression {
    let left = this.not();
    while (this.skip("name", "and")) left = { kind: "binary", operator: "and", left, right: this.not() };
    return left;
  }

  private not(): Expression {
    return this.skip("name", "not") ? { kind: "unary", operator: "not", value: this.not() } : this.compare();
  }

  private compare(): Expression {
    const first = this.sum();
    const rest: [string, Expression][] = [];
    for (;;) {
      if (this.is("operator", "==", "!=", "<", "<=", ">", ">=")) rest.push([this.next().value, this.sum()]);
      else if (this.skip("name", "in")) rest.push(["in", this.sum()]);
      else if (this.is("name", "not") && this.look().type === "name" && this.look().value === "in") {
        this.next();
        this.next();
        rest.push(["not in", this.sum()]);
      } else break;
    }
    return rest.length > 0 ? { kind: "compare", first, rest } : first;
  }

  private sum(): Expression {
    return this.binary(["+", "-"], () => this.concat());
  }

  private concat(): Expression {
    const items = [this.product()];
    while (this.skip("operator", "~")) items.push(this.product());
    return items.length > 1 ? { kind: "concat", items } : items[0]!;
  }

  private product(): Expression {
    return this.binary(["*", "/", "//", "%"], () => this.binary(["**"], () => this.unary()));
  }

  private binary(operators: readonly string[], operand: () => Expression): Expression {
    let left = operand();
    while (this.is("operator", ...operators))
      left = { kind: "binary", operator: this.next().value, left, right: operand() };
    return left;
  }

  private unary(filters = true): Expression {
    const value: Expression = this.is("operator", "-", "+")
      ? { kind: "unary", operator: this.next().value as "-" | "+", value: this.unary(false) }
      : this.primary();
    const whole = this.postfix(value);
    return filters ? this.filtered(whole) : whole;
  }

  protected primary(): Expression {
    const token = this.next();
    switch (token.type) {
      case "name": {
        const constant = CONSTANTS.get(token.value);
        if (constant !== undefined) return { kind: "constant", value: constant };
        for (const names of this.mentioned) names.add(token.value);
        return { kind: "name", name: token.value };
      }
      case "string": {
        let text = unquote(token.value);
        while (this.is("string")) text += unquote(this.next().value);
        return { kind: "constant", value: text };
      }
      case "integer":
        return { kind: "constant", value: this.integer(token) };
      case "float":
        return { kind: "float", value: Number(token.value.replaceAll("_", "")) };
      case "operator":
        if (token.value === "(") {
          const inner = this.tuple(true, [], true);
          this.expect("operator", ")");
          return inner;
        }
        if (token.value === "[") return { kind: "list", items: this.list("]", () => this.expression()) };
        if (token.value === "{")
          return {
            kind: "dict",
            items: this.list("}", () => {
              const key = this.expression();
              this.expect("operator", ":");
              return [key, this.expression()] as const;
            }),
          };
    }
    return this.fail(`unexpected ${token.value || "end of the template"}`);
  }

  private integer(token: Token): number {
    const value = Number(token.value.replaceAll("_", ""));
    return Number.isSafeInteger(value) ? value : this.fail(`${token.value} is too large`);
  }

  private list<T>(end: string, item: () => T): T[] {
    const items: T[] = [];
    while (!this.is("operator", end)) {
      if (items.length > 0) {
        this.expect("operator", ",");
        if (this.is("operator", end)) break;
      }
      items.push(item());
    }
    this.expect("operator", end);
    return items;
  }

  private postfix(value: Expression): Expression {
    for (;;) {
      if (this.skip("operator", ".")) {
        const token = this.next();
        if (token.type === "name") value = { kind: "attribute", object: value, name: token.value };
        else if (token.type === "integer")
          value = { kind: "item", object: value, key: { kind: "constant", value: this.integer(token) } };
        else this.fail("expected a name or a number after the dot");
      } else if (this.skip("operator", "[")) {
        const keys = this.list("]", () => this.subscript());
        value = { kind: "item", object: value, key: keys.length === 1 ? keys[0]! : { kind: "tuple", items: keys } };
      } else if (this.is("operator", "(")) value = { kind: "call", callee: value, args: this.arguments() };
      else return value;
    }
  }

  private subscript(): Expression {
    const parts: (Expression | undefined)[] = [this.is("operator", ":") ? undefined : this.expression()];
    if (!this.is("operator", ":")) return parts[0]!;
    while (parts.length < 3 && this.skip("operator", ":"))
      parts.push(this.is("operator", ":", "]", ",") ? undefined : this.expression());
    return { kind: "slice", parts };
  }

  private filtered(value: Expression): Expression {
    for (;;) {
      if (this.is("operator", "|")) value = this.filter(value);
      else if (this.is("name", "is")) value = this.test(value);
      else if (this.is("operator", "(")) value = { kind: "call", callee: value, args: this.arguments() };
      else return value;
    }
  }

  /** `| name(…)`, any number of them; the first without its bar where a block begins with its name. */
  protected filter(value: Expression | undefined, inline = false): Expression {
    while (this.is("operator", "|") || inline) {
      if (!inline) this.next();
      value = {
        kind: "filter",
        value,
        name: this.dotted(),
        args: this.is("operator", "(") ? this.arguments() : NO_ARGUMENTS,
      };
      inline = false;
    }
    return value ?? this.fail("expected a filter");
  }

  private test(value: Expression): Expression {
    this.next();
    const negated = this.skip("name", "not");
    const name = this.dotted();
    let args = NO_ARGUMENTS;
    if (this.is("operator", "(")) args = this.arguments();
    else if (
      this.is("string") ||
      this.is("integer") ||
      this.is("float") ||
      this.is("operator", "[", "{") ||
      (this.is("name") && !this.is("name", "else", "or", "and"))
    ) {
      if (this.is("name", "is")) this.fail("tests cannot be chained with is");
      args = { positional: [this.postfix(this.primary())], named: [] };
    }
    const test: Expression = { kind: "test", value, name, args };
    return negated ? { kind: "unary", operator: "not", value: test } : test;
  }

  private dotted(): string {
    let name = this.expect("name").value;
    while (this.skip("operator", ".")) name += `.${this.expect("name").value}`;
    return name;
  }

  protected arguments(): Arguments {
    this.expect("operator", "(");
    const positional: Expression[] = [];
    const named: [string, Expression][] = [];
    let list: Expression | undefined;
    let dict: Expression | undefined;
    this.list(")", () => {
      if (this.skip("operator", "*")) list = this.expression();
      else if (this.skip("operator", "**")) dict = this.expression();
      else if (this.is("name") && this.look().type === "operator" && this.look().value === "=") {
        const name = this.next().value;
        this.next();
        named.push([name, this.expression()]);
      } else positional.push(this.expression());
    });
    return { positional, named, ...(list && { list }), ...(dict && { dict }) };
  }
}
