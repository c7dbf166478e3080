// This folder renders chat templates as Python's jinja2 does, set up as transformers sets it up.
import { GLOBALS } from "./objects.js";
import { parse } from "./parser.js";
import { render } from "./render.js";
import { asString, type Callable, fromJs, NONE } from "./values.js";

export { TemplateError } from "./values.js";

export class Template {
  private readonly body;

  /** Throws TemplateError, with the line, for what cannot be read. */
  constructor(source: string) {
    this.body = parse(source);
  }

  /** `variables` are JSON; `functions` get their arguments as text. Throws TemplateError where the template fails. */
  render(
    variables: Readonly<Record<string, unknown>>,
    functions: Readonly<Record<string, (text: string) => string>> = {},
  ): string {
    const values = Object.entries(variables)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [name, fromJs(value)] as const);
    const callables = Object.entries(functions).map(([name, body]): [string, Callable] => [
      name,
      (args) => body(asString(args[0] ?? NONE)),
    ]);
    return render(this.body, [...Object.entries(GLOBALS), ...callables, ...values]);
  }
}
