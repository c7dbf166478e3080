"""The forms that tool calls have in texts: finds calls of known names and arguments, and says what is around them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from mlcweb.contract.constants import MAX_MARKER_CHARACTERS

Json = dict[str, Any]

# What is looked for: two calls of two arguments.
NAMES = ("alpha_tool", "omega_tool")
KEYS = ("first_key", "other_key")
ARGUMENTS: tuple[Json, Json] = (
    {KEYS[0]: "Vienna", KEYS[1]: "Graz"},
    {KEYS[0]: "Lisbon", KEYS[1]: "Porto"},
)
CALL_IDS = ("callid000", "callid001")

_Found = tuple[int, int, Json]
_Finder = Callable[[str, int], "_Found | None"]


def describe_calls(one: str, two: str | None) -> Json | None:
    """``ToolCallSyntax``'s fields, from a text of the first call and one of both, where a turn may have two."""
    for find in (_json, _pythonic, _named_json, _tagged):
        first = find(one, 0)
        if first is None:
            continue
        start, end, fields = first
        found = _around(one, start, end, two, find) | fields
        markers = [value for value in found.values() if isinstance(value, str)]
        if all(len(marker) <= MAX_MARKER_CHARACTERS and CALL_IDS[0] not in marker for marker in markers):
            return found
    return None


def _around(one: str, start: int, end: int, two: str | None, find: _Finder) -> Json:
    """Cuts what is around calls into what is around all of them and around each."""
    before, after = one[:start], one[end:]
    first = None if two is None else find(two, 0)
    second = None if two is None else find(two, 1)
    if two is None or first is None or second is None or two[: first[0]] != before:
        return {"begin": "", "call_begin": before, "call_end": after, "end": "", "separator": None}
    between = two[first[1] : second[0]]
    opening = _common_end(before, between)
    between = between[: len(between) - len(opening)]
    closing = common_start(after, between)
    if closing != after and "<" in closing:  # the beginning of another marker is no marker
        closing = closing[: closing.rindex(">") + 1] if ">" in closing else ""
    return {
        "begin": before[: len(before) - len(opening)],
        "call_begin": opening,
        "call_end": closing,
        "separator": between[len(closing) :],
        "end": after[len(closing) :],
    }


def common_start(one: str, other: str) -> str:
    """What both begin with."""
    length = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    return one[: min(len(one), len(other)) if length is None else length]


def _common_end(before: str, between: str) -> str:
    """The longest end of both that begins where a marker may."""
    common = common_start(before[::-1], between[::-1])[::-1]
    if common == before:
        return common
    return common[common.index("<") :] if "<" in common else ""


def _json(text: str, index: int) -> _Found | None:
    """An object with the call's name and its arguments as two of its values."""
    decoder = json.JSONDecoder()
    for at in (match.start() for match in re.finditer(r"\{", text)):
        try:
            value, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            continue
        keys = {
            "name_key": next((key for key, item in value.items() if item == NAMES[index]), None),
            "arguments_key": next((key for key, item in value.items() if item == ARGUMENTS[index]), None),
        }
        if all(keys.values()):
            return at, end, {"form": "json", **keys}
    return None


def _pythonic(text: str, index: int) -> _Found | None:
    """A call as Python writes it, with named arguments."""
    values = ", ".join(
        rf"{key}=(['\"]){value}\{n}" for n, (key, value) in enumerate(ARGUMENTS[index].items(), 1)
    )
    match = re.search(rf"{NAMES[index]}\({values}\)", text)
    return match and (match.start(), match.end(), {"form": "pythonic"})


def _named_json(text: str, index: int) -> _Found | None:
    """The name, something, and the arguments as an object."""
    at = text.find(NAMES[index])
    brace = text.find("{", at)
    if at < 0 or brace < 0:
        return None
    try:
        value, end = json.JSONDecoder().raw_decode(text, brace)
    except json.JSONDecodeError:
        return None
    if value != ARGUMENTS[index] or not text[:at].strip():
        return None
    return at, end, {"form": "named-json", "name_end": text[at + len(NAMES[index]) : brace]}


def _tagged(text: str, index: int) -> _Found | None:
    """The name, then each argument's key and value between markers."""
    name, (one, other) = NAMES[index], ARGUMENTS[index].values()
    match = re.search(
        rf"{name}(?P<head>(?:(?!{KEYS[0]}).)+){KEYS[0]}(?P<key_end>\W(?:(?!{one}).)*){one}"
        rf"(?P<middle>(?:(?!{KEYS[1]}).)+){KEYS[1]}(?P=key_end){other}",
        text,
        re.S,
    )
    if match is None or not text[: match.start()].strip():
        return None
    key_begin = match["head"][max(match["head"].rfind("<"), 0) :]
    if not match["middle"].endswith(key_begin):
        return None
    value_end = match["middle"][: len(match["middle"]) - len(key_begin)]
    if not text[match.end() :].startswith(value_end):
        value_end = value_end.rstrip()
    if not value_end or not text[match.end() :].startswith(value_end):
        return None
    return (
        match.start(),
        match.end() + len(value_end),
        {
            "form": "tagged",
            "name_end": match["head"][: len(match["head"]) - len(key_begin)],
            "key_begin": key_begin,
            "key_end": match["key_end"],
            "value_end": value_end,
        },
    )
