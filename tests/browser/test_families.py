"""Tiny models of every architecture, compiled and run in a browser, against transformers at every position."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from mlcweb.models import ARCHITECTURES
from tests.fixtures.grids.cases import CASES as GRID_CASES
from tests.fixtures.images.cases import CASES as IMAGE_CASES
from tests.fixtures.models.case import SCHEMES, Case
from tests.fixtures.models.cases import CASES
from tests.fixtures.models.expected import load
from tests.fixtures.texts.cases import CASES as TEXT_CASES
from tests.support.browser.families import Found, measured
from tests.support.engine import needs_engine

pytestmark = needs_engine

TOLERANCE = 1e-4  # of a position's range; the fixtures' rounding alone is 1e-5


def bundles() -> Iterator[Any]:
    """The first case of every architecture, in the schemes in turn. `make families` runs all cases in all schemes, and
    tests/unit/test_reference_families.py does so on the host: a definition is right there, and kernels are right here.
    """
    firsts: dict[str, Case] = {}
    for case in CASES:
        firsts.setdefault(case.text_architecture, case)
    for i, case in enumerate(firsts.values()):
        scheme = SCHEMES[i % len(SCHEMES)]
        yield pytest.param(case, scheme, id=f"{case.name}-{scheme}")


def test_every_architecture_has_a_case() -> None:
    others = {case.config["architectures"][0] for case in (*TEXT_CASES, *IMAGE_CASES, *GRID_CASES)}
    assert {case.text_architecture for case in CASES} | others == set(ARCHITECTURES)


@pytest.fixture(scope="module")
def found(
    request: pytest.FixtureRequest, chromium: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, str], Future[Found]]]:
    """Of the tests that were chosen: all are begun at once, in their order."""
    items = [item for item in request.session.items if item.path == request.path]
    params = [item.callspec.params for item in items if hasattr(item, "callspec")]
    wanted = [(p["case"].name, p["scheme"]) for p in params if "case" in p]
    with measured(wanted, chromium, tmp_path_factory.mktemp("families")) as results:
        yield results


@pytest.mark.parametrize(("case", "scheme"), list(bundles()))
def test_every_logit_is_transformers(
    case: Case, scheme: str, found: dict[tuple[str, str], Future[Found]]
) -> None:
    result = found[case.name, scheme].result()
    assert result.error < TOLERANCE, f"after {result.position + 1} tokens"
    assert result.greedy == load(case, scheme).greedy
