"""A bundle compiled with --matrix in the real engine: its kernels spelled out and right, as they are and refused.

No browser that tests run in offers subgroup matrices, so the page claims that its adapter does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlcweb.bundle import open_bundle
from mlcweb.kernels.products.matmul_matrix import NEEDS
from tests.support.browser.model_page import ModelPage, Site, open_model_page
from tests.support.browser.subgroup_matrices import spelled_out_wgsl
from tests.support.engine import needs_engine
from tests.support.llama_cases import ODD

pytestmark = needs_engine

FEATURE = NEEDS["features"][0]
# The feature is not passed on; window.asked keeps what the engine asks its device for.
CLAIM = """{
  const feature = 'chromium-experimental-subgroup-matrix', adapter = GPUAdapter.prototype;
  const features = Object.getOwnPropertyDescriptor(adapter, 'features').get, request = adapter.requestDevice;
  const config = { componentType: 'f16', resultComponentType: 'f32', M: 16, N: 16, K: 16 };
  const info = { subgroupMinSize: 32, subgroupMaxSize: 32, subgroupMatrixConfigs: [config] };
  for (const [name, value] of Object.entries(info)) {
    Object.defineProperty(GPUAdapterInfo.prototype, name, { get: () => value });
  }
  Object.defineProperty(adapter, 'features', { get() { return new Set([...features.call(this), feature]); } });
  adapter.requestDevice = function ({ requiredFeatures, requiredLimits, ...rest }) {
    window.asked = { features: requiredFeatures, limits: requiredLimits };
    const had = requiredFeatures.filter((name) => name !== feature);
    return request.call(this, { ...rest, requiredFeatures: had, requiredLimits });
  };
}"""


@pytest.fixture(scope="module")
def page(f16_chromium: Path, site: Site) -> Iterator[ModelPage]:
    with open_model_page(f16_chromium, site, CLAIM) as opened:
        yield opened


def spelled_out_bundle(site: Site, scheme: str, tier: str) -> str:
    """A bundle whose kernels on subgroup matrices are written anew, as ones that any GPU with float16 compiles."""
    served = site.bundle(f"spelled-{tier}", ODD, scheme, matrix=True, tiers=(tier,))
    bundle = site.folder / served
    kernels = open_bundle(bundle).kernels(tier)
    for name, wgsl in kernels.items():
        if "subgroupMatrixLoad" in wgsl:
            kernels[name] = spelled_out_wgsl(wgsl)
    data = "".join(kernels.values()).encode()
    digest = hashlib.sha256(data).hexdigest()
    manifest = json.loads((bundle / "mlcweb.json").read_text())
    (only,) = manifest["tiers"]
    del manifest["files"][only["kernels"]]
    only["kernels"] = f"kernels.{tier}.{digest[:8]}.wgsl"
    manifest["files"][only["kernels"]] = {"bytes": len(data), "sha256": digest}
    (bundle / only["kernels"]).write_bytes(data)
    (bundle / "mlcweb.json").write_text(json.dumps(manifest))
    return served


@pytest.mark.parametrize(
    ("scheme", "tier"),
    [("q4f16_1", "f16-subgroups"), pytest.param("q4f32_1", "subgroups", marks=pytest.mark.sweep)],
)
def test_what_it_computes_is_right(scheme: str, tier: str, page: ModelPage, site: Site) -> None:
    """Spelled out, and with the float32 scheme on a device that has shader-f16 for this entry alone."""
    bundle = spelled_out_bundle(site, scheme, tier)
    report = page.validate(bundle, tier, activations="matrix")
    assert (report["activations"], report["activation"], report["tolerance"]) == ("matrix", "matrix", 2e-2)
    assert report["greedy_mismatch_at"] == -1, report
    assert 0 < report["max_relative_difference"] <= report["tolerance"]
    asked = page.raw.evaluate("window.asked")
    assert set(asked["features"]) == set(NEEDS["features"])
    assert asked["limits"]["maxComputeWorkgroupStorageSize"] == 20480


def test_it_is_timed_beside_the_others(page: ModelPage, site: Site) -> None:
    bundle = spelled_out_bundle(site, "q4f16_1", "f16-subgroups")
    loaded = page.right("load", f"./{bundle}/", {"cache": False})
    assert loaded["warnings"] == [] and loaded["info"]["timings"]["choice_s"] > 0
    assert loaded["info"]["activations"] in ("float", "int8", "matrix")


def test_kernels_that_the_browser_refuses_are_out_with_a_warning(page: ModelPage, site: Site) -> None:
    bundle = site.bundle("refused", ODD, "q4f16_1", matrix=True, tiers=("f16-subgroups",))
    loaded = page.right("load", f"./{bundle}/", {"cache": False})
    assert loaded["info"]["activations"] in ("float", "int8")
    (warning,) = loaded["warnings"]
    assert warning["code"] == "matrix-refused" and "prefill_matrix_" in warning["message"]
    report: dict[str, Any] = page.validate(bundle, "f16-subgroups")
    assert report["ok"] and report["activations"] != "matrix"
    error = page.call("load", f"./{bundle}/", {"cache": False, "activations": "matrix"})["error"]
    assert error["code"] == "bundle" and "does not compile" in error["message"]


def test_where_they_are_not_offered_nothing_is_asked_for(
    f16_chromium: Path, page: ModelPage, site: Site
) -> None:
    bundle = site.bundle("refused", ODD, "q4f16_1", matrix=True, tiers=("f16-subgroups",))
    page.right("load", f"./{bundle}/", {"cache": False, "activations": "float"})
    assert page.raw.evaluate("window.asked.features").count(FEATURE) == 0
    with open_model_page(f16_chromium, site) as plain:
        if plain.raw.evaluate(
            "async (name) => (await navigator.gpu.requestAdapter()).features.has(name)", FEATURE
        ):
            pytest.skip("this browser offers subgroup matrices")
        loaded = plain.right("load", f"./{bundle}/", {"cache": False})
        assert (loaded["info"]["activations"], loaded["warnings"]) == ("float", [])
        error = plain.call("load", f"./{bundle}/", {"cache": False, "activations": "matrix"})["error"]
    assert error["code"] == "missing-feature"
    assert FEATURE in error["message"] and "16 x 16 x 16" in error["message"]
