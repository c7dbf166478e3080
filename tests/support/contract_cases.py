"""The cases in tests/contract, made into documents (its README.md says how they are written)."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "contract"
GOOD: dict[str, Any] = json.loads((FOLDER / "good.json").read_text(encoding="utf-8"))


def cases(document: str) -> list[dict[str, Any]]:
    """The cases of ``manifest``, ``plan``, ``validation`` or ``catalog``."""
    documents: list[dict[str, Any]] = json.loads((FOLDER / f"{document}.json").read_text(encoding="utf-8"))
    return documents


def made(document: str, case: dict[str, Any]) -> Any:
    """The good document with the case's steps done to it."""
    root = {"": copy.deepcopy(GOOD[document])}
    for step, path, *rest in case["do"]:
        at: Any = root
        *inner, last = ["", *path]
        for key in inner:
            at = at[key]
        if step == "remove":
            del at[last]
        elif step == "append":
            at[last].append(_value(rest[0], 0))
        elif step == "fill":
            at[last] = [_value(rest[1], i) for i in range(rest[0])]
        elif step == "fill_keys":
            at[last] = {_value(rest[1], i): _value(rest[2], i) for i in range(rest[0])}
        else:
            assert step == "set", step
            at[last] = _value(rest[0], 0)
    return root[""]


def _value(value: Any, i: int) -> Any:
    if isinstance(value, str):
        return value.replace("${i}", str(i))
    if isinstance(value, list):
        return [_value(item, i) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"index_times"}:
        return value["index_times"] * i
    if set(value) == {"repeat", "times"}:
        return value["repeat"] * value["times"]
    return {key: _value(item, i) for key, item in value.items()}
