"""The packages, built once a run; with MLCWEB_PACKAGES=whole the tests install all that users get, too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support.packages import DIST_PYTHON, Packages, build
from tests.support.tiny import TinyLlama, make_llama


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test marked ``whole`` takes minutes and a network: `make packages-test` runs it."""
    if os.environ.get("MLCWEB_PACKAGES") != "whole":
        skip = pytest.mark.skip(reason="`make packages-test` runs it")
        for item in items:
            if item.get_closest_marker("whole"):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Packages:
    """The three packages. Where tests run in several processes, the first that needs them builds them."""
    if not DIST_PYTHON.is_file():
        pytest.skip("what builds packages is not here: run `make dist`")
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "packages"
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            build(folder)
    return Packages(folder)


@pytest.fixture(scope="session")
def packages(request: pytest.FixtureRequest) -> Packages:
    """Those of the folder MLCWEB_PACKAGES_FOLDER, which are about to be published, else those of this tree."""
    named = os.environ.get("MLCWEB_PACKAGES_FOLDER")
    made: Packages = Packages(Path(named)) if named else request.getfixturevalue("built")
    return made


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama's checkpoint, far from the clone."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    make_llama(folder, TinyLlama())
    return folder
