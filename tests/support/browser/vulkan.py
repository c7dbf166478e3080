"""The Vulkan that comes with a Chromium: a loader and a driver in software, for what is no Chromium."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

LOADER, SWIFTSHADER, LAVAPIPE = "libvulkan.so.1", "libvk_swiftshader.so", "libvulkan_lvp.so"


@dataclass(frozen=True)
class Vulkan:
    """Two libraries."""

    loader: Path
    driver: Path

    def environment(self, folder: Path) -> dict[str, str]:
        """For a program that looks for Vulkan; ``folder`` gets the description that the loader reads."""
        icd = folder / "icd.json"
        described = {"library_path": str(self.driver), "api_version": "1.1.0"}
        icd.write_text(json.dumps({"file_format_version": "1.0.0", "ICD": described}))
        return {"VK_DRIVER_FILES": str(icd), "LD_LIBRARY_PATH": str(self.loader.parent)}


def vulkan_of(chromium: Path) -> Vulkan:
    """Mesa's driver for the Chromium of scripts/f16-chromium.sh, else SwiftShader; skips where Debian and Google do
    not put them.
    """
    beside = chromium.resolve().parent
    for folder in (beside / "chromium", beside, Path("/usr/lib/chromium"), Path("/opt/google/chrome")):
        mesa = folder.parent / LAVAPIPE
        driver = mesa if mesa.is_file() else folder / SWIFTSHADER
        if (folder / LOADER).is_file() and driver.is_file():
            return Vulkan(folder / LOADER, driver)
    pytest.skip(f"no Vulkan driver beside {chromium}")
