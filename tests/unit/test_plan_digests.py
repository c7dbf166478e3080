"""A few of the plans are byte for byte what they were; ``make plans`` compares all of them."""

import json

import pytest

from tests.fixtures.plan_digests import FILE, digest, plans

pytestmark = pytest.mark.slow

PLANS = dict(plans())
SAMPLE = ("tiny-untied q4f16_1 f16-subgroups", "mixtral q4f32_1 base", "gemma-3 q4f16_1 f16-subgroups")


@pytest.mark.parametrize("name", SAMPLE)
def test_a_plan_is_as_it_was(name: str) -> None:
    assert digest(PLANS[name]()) == json.loads(FILE.read_text())[name]


def test_every_plan_has_a_digest() -> None:
    assert list(json.loads(FILE.read_text())) == list(PLANS)
