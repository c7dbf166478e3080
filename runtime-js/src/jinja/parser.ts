// Parses statements, in jinja2's grammar: those of chat templates, with loop controls and transformers' `generation`.
import type { Expression, Signature, Statement, Target } from "./ast.js";
import { Expressions } from "./expressions.js";

const SPECIAL = ["caller", "kwargs", "varargs"];

/** Throws TemplateError, with the line, for what is no template or has statements that no chat template needs. */
export function parse(template: string): readonly Statement[] {
  return new Parser(template).template();
}

class Parser extends Expressions {
  template(): readonly Statement[] {
    const body = this.body([]);
    if (!this.is("end")) this.fail(`unexpected ${this.token.value}`);
    return body;
  }

  /** Up to a block that begins with one of `ends`, which is the next token then. */
  private body(ends: readonly string[]): Statement[] {
    const statements: Statement[] = [];
    for (;;) {
      if (this.is("text")) statements.push({ kind: "text", text: this.next().value });
      else if (this.is("print")) {
        this.next();
        statements.push({ kind: "print", value: this.tuple() });
        this.expect("print-end");
      } else if (this.is("block")) {
        this.next();
        if (ends.length > 0 && this.is("name", ...ends)) return statements;
        statements.push(...this.statement());
        this.expect("block-end");
      } else {
        if (ends.length > 0) this.fail(`missing ${ends.join(" or ")}`);
        return statements;
      }
    }
  }

  /** The body of a statement whose head has been read, and its end's name. */
  private block(...ends: readonly string[]): Statement[] {
    this.expect("block-end");
    return this.body(ends);
  }

  private closed(end: string): Statement[] {
    const body = this.block(end);
    this.next();
    return body;
  }

  private statement(): Statement[] {
    const keyword = this.expect("name").value;
    switch (keyword) {
      case "print": {
        const values = [this.expression()];
        while (this.skip("operator", ",")) values.push(this.expression());
        return values.map((value) => ({ kind: "print", value }));
      }
      case "if":
        return [this.if()];
      case "for":
        return [this.for()];
      case "set":
        return [this.set()];
      case "with":
        return [this.with()];
      case "macro": {
        const name = this.expect("name").value;
        const [names, defaults] = this.parameters();
        return [{ kind: "macro", name, signature: this.signature("endmacro", names, defaults) }];
      }
      case "call": {
        const [names, defaults] = this.is("operator", "(") ? this.parameters() : [[], []];
        const call = this.expression();
        if (call.kind !== "call") this.fail("expected a call");
        return [{ kind: "call-block", call, signature: this.signature("endcall", names, defaults) }];
      }
      case "filter": {
        const filter = this.filter(undefined, true);
        return [{ kind: "filter-block", filter, body: this.closed("endfilter") }];
      }
      case "generation":
        return [{ kind: "with", targets: [], body: this.closed("endgeneration") }];
      case "break":
      case "continue":
        return [{ kind: keyword }];
      default:
        return this.fail(`the statement ${keyword} is not supported`);
    }
  }

  private if(): Statement {
    const branches: { test: Expression | undefined; body: Statement[] }[] = [];
    for (;;) {
      const test = this.tuple(false);
      branches.push({ test, body: this.block("elif", "else", "endif") });
      const end = this.next().value;
      if (end === "else") branches.push({ test: undefined, body: this.closed("endif") });
      if (end !== "elif") return { kind: "if", branches };
    }
  }

  private for(): Statement {
    const target = this.target(["in"]);
    this.expect("name", "in");
    const iterable = this.tuple(false, ["recursive"]);
    const test = this.skip("name", "if") ? this.expression() : undefined;
    const recursive = this.skip("name", "recursive");
    const body = this.block("endfor", "else");
    const otherwise = this.next().value === "else" ? this.closed("endfor") : [];
    return { kind: "for", target, iterable, test, recursive, body, otherwise };
  }

  private set(): Statement {
    const target = this.target([]);
    if (this.skip("operator", "=")) return { kind: "set", target, value: this.tuple() };
    const filter = this.is("operator", "|") ? this.filter(undefined) : undefined;
    return { kind: "set-block", target, filter, body: this.closed("endset") };
  }

  private with(): Statement {
    const targets: [Target, Expression][] = [];
    while (!this.is("block-end")) {
      if (targets.length > 0) this.expect("operator", ",");
      const target = this.target(["="]);
      this.expect("operator", "=");
      targets.push([target, this.expression()]);
    }
    return { kind: "with", targets, body: this.closed("endwith") };
  }

  private signature(end: string, names: readonly string[], defaults: readonly Expression[]): Signature {
    const mentioned = new Set<string>();
    this.mentioned.push(mentioned);
    const body = this.closed(end);
    this.mentioned.pop();
    return {
      names,
      defaults,
      body,
      special: new Set(SPECIAL.filter((name) => mentioned.has(name) && !names.includes(name))),
    };
  }

  private parameters(): [string[], Expression[]] {
    const names: string[] = [];
    const defaults: Expression[] = [];
    this.expect("operator", "(");
    while (!this.skip("operator", ")")) {
      if (names.length > 0) this.expect("operator", ",");
      names.push(this.expect("name").value);
      if (this.skip("operator", "=")) defaults.push(this.expression());
      else if (defaults.length > 0) this.fail("a parameter without a default follows one with");
    }
    return [names, defaults];
  }

  /** Names, with commas or in parentheses; and `namespace.name`. */
  private target(ends: readonly string[]): Target {
    const items: Target[] = [];
    let comma = false;
    for (;;) {
      if (this.is("block-end") || this.is("operator", "=", ")", "|") || (this.is("name", ...ends) && ends.length > 0))
        break;
      items.push(this.oneTarget());
      if (ends[0] === "=" || !this.skip("operator", ",")) break;
      comma = true;
    }
    if (items.length === 0) this.fail("expected a name");
    return comma ? { kind: "tuple", items } : items[0]!;
  }

  private oneTarget(): Target {
    if (this.skip("operator", "(")) {
      const inner = this.target([]);
      this.expect("operator", ")");
      return inner;
    }
    const name = this.expect("name").value;
    return this.skip("operator", ".")
      ? { kind: "attribute", object: name, name: this.expect("name").value }
      : { kind: "name", name };
  }
}
