"""Translates expressions of an entry's dynamic sizes: shapes, grids and scalars that depend on how many tokens."""

from typing import Any

import tvm
from tvm import tirx


def substitute(expression: Any, values: dict[str, Any]) -> Any:
    """``expression`` with its dynamic sizes (by name) replaced by numbers or other variables."""
    if isinstance(expression, int):
        return expression
    analyzer = tvm.sym.Analyzer()
    for variable in _variables(expression):
        value = values[str(variable.name)]
        analyzer.bind(variable, tirx.const(value, "int32") if isinstance(value, int) else value)
    result = analyzer.simplify(expression)
    return int(result) if isinstance(result, tirx.IntImm) else result


def _variables(expression: Any) -> list[Any]:
    variables: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, tirx.Var):
            if not any(node.same_as(v) for v in variables):
                variables.append(node)
            return
        for part in ("a", "b", "value", "condition", "true_value", "false_value"):
            child = getattr(node, part, None)
            if child is not None and not isinstance(child, (int, float)):
                visit(child)

    visit(expression)
    return variables
