"""What every test runs with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def kernel_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of lowered kernels of the run's own: never the user's, nor one that an earlier run left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLCWEB_KERNEL_CACHE", str(tmp_path_factory.mktemp("kernels")))
        yield
