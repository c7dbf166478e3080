"""Reads TOML files that people write: each key and type is that of a dataclass, or the error names it."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from mlcweb.errors import MlcwebError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]


def read_toml(path: Path, error: type[MlcwebError]) -> dict[str, Any]:
    """The file's top table. Raises ``error`` where it is not to be read."""
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as reason:
        raise error(f"{path}: cannot be read as TOML: {reason}") from reason
    return table


def check_table(
    path: Path, table: Mapping[str, Any], kind: type, prefix: str, error: type[MlcwebError]
) -> dict[str, Any]:
    """The table, if its keys and types are those of the dataclass ``kind``; ``prefix`` is where it stands in the file.

    Raises ``error`` naming the first key that is unknown, missing, or of another type.
    """
    types = get_type_hints(kind)
    for key in table:
        if key not in types:
            near = difflib.get_close_matches(key, types, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Known fields: {', '.join(types)}."
            raise error(f"{path}: unknown field {prefix}{key}", hint=hint)
    for field in fields(kind):
        if field.name not in table:
            if field.default is not MISSING or field.default_factory is not MISSING:
                continue
            raise error(f"{path}: lacks the field {prefix}{field.name}")
        value = table[field.name]
        expected = _plain_type(types[field.name])
        # type() and not isinstance: true is an int to Python, and no context length.
        if type(value) is not expected:
            shown = "table" if expected is dict or is_dataclass(expected) else expected.__name__
            raise error(f"{path}: {prefix}{field.name} is {value!r}, expected a {shown}")
    return dict(table)


def _plain_type(annotation: Any) -> type:
    """``str`` of ``str | None``, and ``dict`` of ``dict[str, Any]``."""
    if get_origin(annotation) is UnionType:
        annotation = next(option for option in get_args(annotation) if option is not NoneType)
    plain: type = get_origin(annotation) or annotation
    return plain
