"""Lists a schema's types, in the few shapes that the bundle's documents have, for the languages to print."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Field:
    """A key of a document."""

    name: str
    schema: dict[str, Any]
    required: bool


@dataclass(frozen=True)
class Type:
    """A type with a name: an object with ``fields``, or one of ``alternatives``, which are names."""

    name: str
    description: str
    fields: tuple[Field, ...] = ()
    alternatives: tuple[str, ...] = ()

    @property
    def values(self) -> str | None:
        """The type that all of its fields have, if they are of a type with a name."""
        kinds = {ref(field.schema) if "$ref" in field.schema else None for field in self.fields}
        return kinds.pop() if len(kinds) == 1 and len(self.fields) > 1 else None


def types(schema: dict[str, Any]) -> Iterator[Type]:
    """The schema's objects and unions, each after those that it names; the document itself is the last."""
    named = schema["$defs"]
    done: set[str] = set()

    def visit(name: str, rule: dict[str, Any]) -> Iterator[Type]:
        if name in done:
            return
        done.add(name)
        for other in _names(rule):
            yield from visit(other, named[other])
        if "then" in rule:
            yield Type(name, "", alternatives=tuple(ref(rule[part]) for part in ("then", "else")))
            return
        required = rule["required"]
        fields = [Field(key, value, key in required) for key, value in rule["properties"].items()]
        yield Type(name, rule["description"], tuple(fields))

    yield from visit(schema["title"], schema)


def ref(rule: dict[str, Any]) -> str:
    """The definition that a rule refers to."""
    return str(rule["$ref"]).rsplit("/", 1)[1]


def _names(rule: Any) -> Iterator[str]:
    if isinstance(rule, dict):
        if isinstance(rule.get("$ref"), str):
            yield ref(rule)
        for key, value in rule.items():
            if key != "$defs":
                yield from _names(value)
    elif isinstance(rule, list):
        for item in rule:
            yield from _names(item)
