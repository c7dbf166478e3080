"""Every case of tests/contract, which the engine's tests run too."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlcweb.bundle import Manifest
from mlcweb.bundle.check import decode_json
from mlcweb.bundle.plan_check import check_plan, check_plan_fits
from mlcweb.bundle.validation_check import check_validation
from mlcweb.errors import BundleError
from mlcweb.publish.catalog_check import read_catalog
from tests.support.contract_cases import GOOD, cases, made


def _slow(case: dict[str, Any]) -> bool:
    """Whether its document is large: jsonschema takes seconds for it."""
    return any(step[0].startswith("fill") and step[2] > 1000 for step in case["do"])


CASES = [
    pytest.param(document, case, marks=[pytest.mark.slow] if _slow(case) else [])
    for document in GOOD
    for case in cases(document)
]


def manifest() -> Manifest:
    return Manifest.from_json(json.dumps(GOOD["manifest"]).encode())


def read(document: str, value: Any) -> None:
    text = json.dumps(value).encode()
    if document == "manifest":
        Manifest.from_json(text)
    elif document == "catalog":
        read_catalog(text)
    elif document == "plan":
        plan = decode_json(text, "plan.json")
        check_plan(plan, "base", "plan.json")
        check_plan_fits(plan, manifest(), "plan.json")
    else:
        check_validation(decode_json(text, "validation.json", fractions=True), manifest(), "validation.json")


@pytest.mark.parametrize(("document", "case"), CASES, ids=lambda v: v if isinstance(v, str) else v["name"])
def test_a_case_is_accepted_or_refused_by_its_field(document: str, case: dict[str, Any]) -> None:
    value = made(document, case)
    if case.get("accepted"):
        read(document, value)
        return
    with pytest.raises(BundleError) as caught:
        read(document, value)
    message = caught.value.message
    assert len(message) < 500
    assert message.startswith(f"{'mlcweb' if document == 'manifest' else document}.json: {case['field']}")
    assert case["field"] == "" or message.split(": ")[1] == case["field"]
