"""What the engine's tests compare its renderer with is what jinja2 says (tests/fixtures/text/make_constructs.py)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fixtures.text.make_constructs import FIXTURE, outcome


@pytest.mark.parametrize("case", FIXTURE["cases"], ids=lambda case: str(case["template"])[:60])
def test_the_text_is_that_of_jinja2(case: dict[str, Any]) -> None:
    actual = outcome(case["template"])
    assert actual.get("text") == case.get("text")
    # Messages of Python's own errors differ between its versions.
    assert ("error" in actual) == ("error" in case) == (case["kind"] == "refusals")
