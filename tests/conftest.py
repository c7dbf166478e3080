"""What every test runs with, and the browsers that a test may ask for."""

from __future__ import annotations

import os
import subprocess
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlcweb.browser.find import find_chromium

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"

# The files that take longest, longest first. They run first, since the last file of a run has one process to itself.
LONGEST = (
    "test_model_llama",
    "test_families",
    "test_kernels_attention",
    "test_smollm2",
    "test_compile_bundle",
    "test_model_pieces",
    "test_naga",
    "test_firefox",
    "test_compile_gguf",
)


# Of a test with many cases in a file of tests/browser whose name begins so, one of so many. `make sweep` runs all, and
# so does who names the file. Each case is some seconds of a software GPU, and neighbours differ in one thing.
SAMPLED = {
    "test_cpu_": 4,
    "test_kernels_attention": 12,
    "test_kernels_": 7,
    "test_families": 4,
    "test_model_llama": 6,
    "test_naga": 3,
    "test_prefill_few": 6,
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files first; all others in their order. Of what is swept, the sample."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))
    if os.environ.get("MLCWEB_SWEEP") == "whole" or any(".py" in argument for argument in config.args):
        return
    left_out = {item for item in items if item.get_closest_marker("sweep")} | set(_not_sampled(items))
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def _not_sampled(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    cases: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        cases[item.nodeid.partition("[")[0]].append(item)
    for name, of_one in cases.items():
        path = of_one[0].path
        if path.parent.name != "browser":
            continue
        each = next((each for prefix, each in SAMPLED.items() if path.stem.startswith(prefix)), 1)
        first = zlib.crc32(name.encode()) % min(each, len(of_one))
        yield from (item for i, item in enumerate(of_one) if i % each != first)


@pytest.fixture(scope="session", autouse=True)
def kernel_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of lowered kernels of the run's processes: never the user's, nor one that an earlier run left."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kernels"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLCWEB_KERNEL_CACHE", str(folder))
        yield


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The Chrome or Chromium of this machine; `make setup` sees that there is one."""
    return find_chromium()


@pytest.fixture(scope="session")
def f16_chromium() -> Path:
    """A Chromium with shader-f16: $MLCWEB_F16_CHROMIUM, or the one we make on Debian as root."""
    named = os.environ.get("MLCWEB_F16_CHROMIUM")
    return Path(named) if named else _printed_by("f16-chromium.sh")


@pytest.fixture(scope="session")
def firefox() -> Path:
    """A Firefox: $MLCWEB_FIREFOX, the one on PATH, or the one we install on Debian as root."""
    return _printed_by("firefox.sh")


@pytest.fixture(scope="session")
def nginx() -> Path:
    """An nginx with its module for brotli: the one on PATH, or the one we unpack on Debian as root."""
    return _printed_by("web-server.sh", "nginx")


@pytest.fixture(scope="session")
def caddy() -> Path:
    """A Caddy, likewise."""
    return _printed_by("web-server.sh", "caddy")


def _printed_by(script: str, *arguments: str) -> Path:
    """The program that a script finds or makes; skips where it cannot."""
    done = subprocess.run(
        [SCRIPTS / script, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        pytest.skip(f"{script}: {last}")
    return Path(done.stdout.strip().splitlines()[-1])
