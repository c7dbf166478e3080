"""The engine as it is built, in the package; tests that load it are skipped where `make engine` has not run."""

from __future__ import annotations

from pathlib import Path

import pytest

ENGINE = Path(__file__).resolve().parents[2] / "mlcweb" / "engine"
needs_engine = pytest.mark.skipif(
    not (ENGINE / "harness.html").is_file(), reason="the engine is not built: run `make engine`"
)
