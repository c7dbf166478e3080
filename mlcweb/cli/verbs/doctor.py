"""``mlcweb doctor`` says what is installed, and what the browser offers."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mlcweb.cli.options import chromium_option, verb
from mlcweb.cli.output import Output
from mlcweb.numbers import size

PACKAGES = ("mlcweb", "apache-tvm", "numpy", "huggingface-hub", "gguf", "tokenizers", "ziglang", "playwright")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


@verb("doctor")
@chromium_option
def command(output: Output, chromium: Path | None) -> None:
    """Check what this machine can run.

    Shows the packages, the cache of lowered kernels, the browser, its WebGPU adapter, and the tiers that run on it.

    \b
    Example:
      mlcweb doctor
      MLCWEB_CHROMIUM=/opt/chrome/chrome mlcweb doctor --format json
    """
    from mlcweb.browser.adapter import Adapter, probe
    from mlcweb.browser.find import find_chromium
    from mlcweb.errors import MlcwebError
    from mlcweb.kernel_cache import VARIABLE, open_cache
    from mlcweb.serve.server import ENGINE

    cache = open_cache()
    entries, in_cache = cache.size() if cache else (0, 0)
    packages = {package: _version(package) for package in PACKAGES}
    document: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "engine": (ENGINE / "harness.html").is_file(),
        "kernel_cache": {"path": str(cache.folder), "entries": entries, "bytes": in_cache} if cache else None,
        "chromium": None,
        "adapter": None,
    }
    adapter: Adapter | None = None
    problem: MlcwebError | None = None
    try:
        path = find_chromium(chromium)
        document["chromium"] = {"path": str(path), "version": None}
        adapter = probe(path)
        document["chromium"]["version"] = adapter.browser
        document["adapter"] = adapter.facts()
    except MlcwebError as error:
        problem = error
        document["error"] = {"code": error.code, "message": error.message, "hint": error.hint}

    def text() -> None:
        rows = {"Python": f"{document['python']} on {document['platform']}"}
        rows["Packages"] = ", ".join(f"{name} {version}" for name, version in packages.items())
        rows["Engine"] = "built" if document["engine"] else "not built: run `make engine`"
        rows["Kernel cache"] = (
            f"{cache.folder}, {entries} entries, {size(in_cache)}" if cache else f"off: {VARIABLE} is empty"
        )
        if document["chromium"]:
            chromium = document["chromium"]
            rows["Chromium"] = " ".join(filter(None, (chromium["path"], chromium["version"])))
        if adapter:
            rows["Adapter"] = f"{adapter.name} ({'software, on the CPU' if adapter.software else 'GPU'})"
            rows["Subgroups"] = (
                f"{adapter.subgroup_min} to {adapter.subgroup_max} lanes" if adapter.subgroup_max else "no"
            )
            rows["Features"] = ", ".join(adapter.features)
            rows["Limits"] = ", ".join(f"{name} {_limit(name, n)}" for name, n in adapter.limits.items())
            rows["Tiers"] = ", ".join(adapter.tiers)
        output.facts(rows)

    output.data(document, text)
    if problem:
        raise problem


def _limit(name: str, value: int) -> str:
    return size(value) if "Size" in name else f"{value}"
