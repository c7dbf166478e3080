"""The kernel of docs/add-a-kernel.md, and the test that the page has for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

from tests.support.pages import ROOT, blocks_of

_MADE, TEST, _LAUNCH = (
    block.text for block in blocks_of(ROOT / "docs" / "add-a-kernel.md") if block.language == "python"
)


def _made() -> Callable[..., tirx.PrimFunc]:
    names: dict[str, Any] = {}
    exec(_MADE, names)
    made: Callable[..., tirx.PrimFunc] = names["scale_rows"]
    return made


scale_rows = _made()
