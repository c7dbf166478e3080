"""Reads the contract's source: the table of constants, and the schemas with the table's values in them.

In a schema ``"=limits.chunks"`` is the table's value, ``"=a.b+c.d"`` the sum of two, and ``${sizes.block}`` in any
other string its text. An object ``{"is": value, "of": meaning}`` of the table counts as its value.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent
SCHEMAS = ("manifest", "plan", "validation", "text_validation", "catalog")


def constants() -> dict[str, Any]:
    """The table of constants, with the texts in it filled in."""
    table = json.loads((FOLDER / "source" / "constants.json").read_text(encoding="utf-8"))
    filled: dict[str, Any] = _filled(table, table)
    return filled


def schemas(table: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The JSON Schemas by name, with the table's values in them."""
    table = {**table, "entry_properties": {name: {"$ref": "#/$defs/Entry"} for name in table["entries"]}}
    return {name: _inlined(_filled(_read(name), table)) for name in SCHEMAS}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Rules for values in place of references to them: readers follow only those to types, which have capitals."""
    rules = schema["$defs"]

    def visit(value: Any) -> Any:
        if isinstance(value, list):
            return [visit(item) for item in value]
        if not isinstance(value, dict):
            return value
        name = value["$ref"].rsplit("/", 1)[1] if isinstance(value.get("$ref"), str) else "A"
        return {key: visit(item) for key, item in value.items()} if name[0].isupper() else visit(rules[name])

    made = {key: visit(value) for key, value in schema.items() if key != "$defs"}
    return {**made, "$defs": {name: visit(rule) for name, rule in rules.items() if name[0].isupper()}}


def _read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / "source" / f"{name}.json").read_text(encoding="utf-8"))
    return document


def _filled(value: Any, table: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {
            key: _pattern(v, table) if key == "pattern" else _filled(v, table) for key, v in value.items()
        }
    if isinstance(value, list):
        return [_filled(item, table) for item in value]
    if not isinstance(value, str):
        return value
    if value.startswith("="):
        first, *others = [_lookup(path, table) for path in value[1:].split("+")]
        return sum(others, first) if others else first
    return re.sub(r"\$\{([\w.]+)\}", lambda match: str(_lookup(match[1], table)), value)


def _pattern(pattern: str, table: dict[str, Any]) -> str:
    """JavaScript's ``$`` is the end; Python's admits a newline there, which this makes both refuse."""
    return re.sub(r"\$$", lambda _: r"$(?!\n)", str(_filled(pattern, table)))


def _lookup(path: str, table: dict[str, Any]) -> Any:
    value: Any = table
    for part in path.split("."):
        value = value[part]
    return value["is"] if isinstance(value, dict) and "is" in value else value
