"""Damages files as they get damaged: a value of another type or size, a part that is gone or twice, bytes changed."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Iterator
from typing import Any

# How many damaged files of each kind: a few seconds' worth, more by hand (`make fuzz`).
MUTATIONS = int(os.environ.get("MLCWEB_FUZZ", "80"))
SEED = int(os.environ.get("MLCWEB_FUZZ_SEED", "0"))

_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 64, 1.5, -0.0, 1e-300, 1e308, float("inf"), float("nan")),
    *(1 << 31, (1 << 32) - 1, 1 << 32, 1 << 53, 1 << 63, 1 << 64, -(1 << 63), 10**400, 65536, 1 << 20),
    *("", "x", "2", "\u0000", "\ud800", "../../etc/passwd", "a" * 5000, "<|im_end|>", "{% for %}", "F64"),
    *([], {}, [None], [[]], ["2"], [[2]], [2, None], {"a": 1}, {"content": 5}, [1] * 300),
)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def damaged(document: Any, chance: random.Random) -> Any:
    """A copy of a JSON document with one to three of its values changed."""
    document = copy.deepcopy(document)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        places = list(_places(document))
        if not places:
            return chance.choice(_ODD)
        # a short path as likely as a long one: most values are deep in large lists
        length = chance.choice(sorted({depth for _, _, depth in places}))
        parent, key, _ = chance.choice([place for place in places if place[2] == length])
        _change(parent, key, chance)
    return document


def _places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any, int]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key, depth
        if depth < 6:
            yield from _places(item, depth + 1)


def _change(parent: Any, key: Any, chance: random.Random) -> None:
    value = parent[key]
    kind = chance.randrange(7)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(value, (int, float)) and not isinstance(value, bool):
        parent[key] = chance.choice(
            (value + 1, value - 1, value * 2, -value, value * 1000, str(value), [value])
        )
    elif kind == 2 and isinstance(value, str):
        parent[key] = chance.choice((value[:-1], value + "x", value.upper(), [value], {value: value}))
    elif kind == 3 and isinstance(parent, list):
        parent.insert(chance.randrange(len(parent) + 1), copy.deepcopy(value))
    elif kind == 4 and isinstance(parent, dict):
        other = chance.choice(list(parent))
        parent[key], parent[other] = parent[other], parent[key]
    elif kind == 5 and isinstance(parent, dict):
        parent[chance.choice(("x", key + "x", key.upper()))] = parent.pop(key)
    else:
        parent[key] = copy.deepcopy(chance.choice(_ODD)) if chance.random() < 0.98 else nested(400)


def to_bytes(document: Any, chance: random.Random) -> bytes:
    """As JSON; now and then not quite."""
    text = json.dumps(document, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    return damaged_bytes(text, chance) if chance.random() < 0.15 else text


def damaged_bytes(data: bytes, chance: random.Random) -> bytes:
    """With some bytes changed, left out or put in, or the end cut off."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(out) + 1)
        kind = chance.randrange(5)
        if kind == 0:
            del out[at:]
        elif kind == 1:
            del out[at : at + chance.choice((1, 2, 16))]
        elif kind == 2:
            out[at:at] = bytes(chance.randrange(256) for _ in range(chance.choice((1, 4))))
        elif kind == 3:
            out[at:at] = chance.choice(
                (b"[" * 100_000, b'{"a":', b"\xff\xfe", b"1e999", b"9" * 5000, b"\x00")
            )
        elif at < len(out):
            out[at] = chance.randrange(256)
    return bytes(out)
