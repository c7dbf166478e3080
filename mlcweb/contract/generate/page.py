"""Writes the contract's tables into the docs, between ``<!-- contract:NAME -->`` and ``<!-- contract:end -->``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any


def filled(page: str, table: dict[str, Any]) -> str:
    """The page with its tables written anew. Raises KeyError for a marker of no table."""
    return re.sub(
        r"(<!-- contract:(\w+) -->\n)(?:(?!<!--).)*(<!-- contract:end -->)",
        lambda match: f"{match[1]}\n{_TABLES[match[2]](table)}\n{match[3]}",
        page,
        flags=re.S,
    )


def _limits(table: dict[str, Any]) -> str:
    rows = [(row["of"], f"{row['is']:,}") for row in table["limits"].values()]
    return _markdown(("of", "at most"), rows)


def _sizes(table: dict[str, Any]) -> str:
    rows = [(name.replace("_", " "), str(row["is"]), row["of"]) for name, row in table["sizes"].items()]
    return _markdown(("size", "is", "of"), rows)


def _dtypes(table: dict[str, Any]) -> str:
    uses = (("tensors", "tensor_dtypes"), ("KV cache", "kv_cache_dtypes"))
    rows = [
        (f"`{name}`", str(size), ", ".join(use for use, key in uses if name in table[key]))
        for name, size in table["dtypes"].items()
    ]
    return _markdown(("dtype", "bytes", "of"), rows)


def _tiers(table: dict[str, Any]) -> str:
    rows = [
        (
            f"`{tier['name']}`",
            ", ".join(f"`{name}`" for name in tier["features"]) or "nothing",
            tier["differs"],
        )
        for tier in table["tiers"]
    ]
    return _markdown(("tier", "needs", "differs in"), rows)


def _entries(table: dict[str, Any]) -> str:
    rows = [
        (
            f"`{name}`",
            ", ".join(f"`{dim}`" for dim in entry["dims"]) or "none",
            _presence(entry),
            "yes" if entry.get("needs") else "no",
            entry["does"],
        )
        for name, entry in table["entries"].items()
    ]
    return _markdown(("entry", "dims", "in a plan", "`needs`", "does"), rows)


def _presence(entry: dict[str, Any]) -> str:
    if entry.get("texts"):
        return "alone"
    where = "always" if entry.get("required") else "perhaps"
    return f"{where}, on a GPU" if entry.get("gpu") else where


def _shared_buffers(table: dict[str, Any]) -> str:
    return _buffers(table["shared_buffers"])


def _text_buffers(table: dict[str, Any]) -> str:
    return _buffers(table["text_buffers"])


def _image_buffers(table: dict[str, Any]) -> str:
    return _buffers(table["image_buffers"])


def _buffers(named: dict[str, Any]) -> str:
    rows = [(f"`{name}`", row["type"], row["is"]) for name, row in named.items()]
    return _markdown(("buffer", "type", "meaning"), rows)


def _words(table: dict[str, Any]) -> str:
    rows = [
        (f"`{name}`", str(index), f"`{word}`", meaning)
        for name, buffer in table["words"].items()
        for index, (word, meaning) in enumerate(buffer["named"].items())
    ]
    return _markdown(("words of", "index", "name", "meaning"), rows)


def _markdown(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(line)} |\n" for line in (head, *rows)]
    return "".join([lines[0], f"| {' | '.join('--' for _ in head)} |\n", *lines[1:]])


_TABLES = {
    "limits": _limits,
    "sizes": _sizes,
    "dtypes": _dtypes,
    "tiers": _tiers,
    "entries": _entries,
    "shared_buffers": _shared_buffers,
    "text_buffers": _text_buffers,
    "image_buffers": _image_buffers,
    "words": _words,
}
