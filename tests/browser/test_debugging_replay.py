"""docs/debugging.md, whole: the broken kernel fails in the browser and the mended one passes, as the page shows."""

from __future__ import annotations

import pytest

from tests.support.debugging_page import PAGE, replay, stable, steps
from tests.support.engine import needs_engine

pytestmark = [pytest.mark.usefixtures("chromium"), needs_engine]


@pytest.mark.sweep
def test_the_page_is_what_its_commands_print() -> None:
    todo = steps(PAGE.read_text(encoding="utf-8"))
    for step, now in zip(todo, replay(todo), strict=True):
        assert stable(now) == stable(step.printed), step.commands
