"""What a page needs of Transformers.js, beside the models in a folder that can be carried to another machine."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

_MODULES = Path(__file__).parent / "node_modules"
_PACKAGES = {
    "@huggingface/transformers": ("dist/transformers.min.js",),
    "onnxruntime-web": (
        "dist/ort-wasm-simd-threaded.asyncify.mjs",
        "dist/ort-wasm-simd-threaded.asyncify.wasm",
    ),
}


def write_runtime(folder: Path) -> None:
    """``folder/runtime`` of the scripts and ``versions.json``; ends with an error where they are not installed."""
    runtime = folder / "runtime"
    runtime.mkdir(parents=True, exist_ok=True)
    versions = {}
    for package, files in _PACKAGES.items():
        source = _MODULES / package
        if not source.is_dir():
            sys.exit(f"{source} is not there: npm --prefix bench/peers ci")
        for file in files:
            shutil.copy(source / file, runtime / Path(file).name)
        versions[package] = json.loads((source / "package.json").read_text())["version"]
    (runtime / "versions.json").write_text(json.dumps(versions))
