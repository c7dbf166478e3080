// Declares a parsed template. The shapes are jinja2's nodes, with only what rendering needs.
import type { NONE } from "./values.js";

export interface Arguments {
  readonly positional: readonly Expression[];
  readonly named: readonly (readonly [string, Expression])[];
  /** `*list` and `**dict`. */
  readonly list?: Expression;
  readonly dict?: Expression;
}

export type Expression =
  | { readonly kind: "constant"; readonly value: string | number | boolean | typeof NONE }
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "list" | "tuple" | "concat"; readonly items: readonly Expression[] }
  | { readonly kind: "dict"; readonly items: readonly (readonly [Expression, Expression])[] }
  | { readonly kind: "attribute"; readonly object: Expression; readonly name: string }
  | { readonly kind: "item"; readonly object: Expression; readonly key: Expression }
  | { readonly kind: "slice"; readonly parts: readonly (Expression | undefined)[] }
  | { readonly kind: "call"; readonly callee: Expression; readonly args: Arguments }
  /** Without a value, of a filter block: what the block printed. */
  | { readonly kind: "filter"; readonly value: Expression | undefined; readonly name: string; readonly args: Arguments }
  | { readonly kind: "test"; readonly value: Expression; readonly name: string; readonly args: Arguments }
  | { readonly kind: "unary"; readonly operator: "-" | "+" | "not"; readonly value: Expression }
  | { readonly kind: "binary"; readonly operator: string; readonly left: Expression; readonly right: Expression }
  | { readonly kind: "compare"; readonly first: Expression; readonly rest: readonly (readonly [string, Expression])[] }
  | {
      readonly kind: "condition";
      readonly test: Expression;
      readonly then: Expression;
      readonly otherwise: Expression | undefined;
    };

export type Target =
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "attribute"; readonly object: string; readonly name: string }
  | { readonly kind: "tuple"; readonly items: readonly Target[] };

export interface Signature {
  readonly names: readonly string[];
  /** Of the last names. */
  readonly defaults: readonly Expression[];
  readonly body: readonly Statement[];
  /** Which of `caller`, `kwargs` and `varargs` the body speaks of. */
  readonly special: ReadonlySet<string>;
}

export type Statement =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "print"; readonly value: Expression }
  | {
      readonly kind: "if";
      readonly branches: readonly { readonly test: Expression | undefined; readonly body: readonly Statement[] }[];
    }
  | {
      readonly kind: "for";
      readonly target: Target;
      readonly iterable: Expression;
      readonly test: Expression | undefined;
      readonly recursive: boolean;
      readonly body: readonly Statement[];
      readonly otherwise: readonly Statement[];
    }
  | { readonly kind: "set"; readonly target: Target; readonly value: Expression }
  | {
      readonly kind: "set-block";
      readonly target: Target;
      readonly filter: Expression | undefined;
      readonly body: readonly Statement[];
    }
  | { readonly kind: "macro"; readonly name: string; readonly signature: Signature }
  | { readonly kind: "call-block"; readonly call: Expression; readonly signature: Signature }
  | { readonly kind: "filter-block"; readonly filter: Expression; readonly body: readonly Statement[] }
  | {
      readonly kind: "with";
      readonly targets: readonly (readonly [Target, Expression])[];
      readonly body: readonly Statement[];
    }
  | { readonly kind: "break" }
  | { readonly kind: "continue" };
