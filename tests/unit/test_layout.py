"""What may import what: benches no tests, and tests only what stands in tests/support, tests/fixtures and bench."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def imported(folder: str) -> dict[str, set[str]]:
    """Each file's modules, by its path: ``from a import b`` is both a and a.b."""
    packages: dict[str, set[str]] = {}
    for path in (ROOT / folder).rglob("*.py"):
        if "node_modules" in path.parts:
            continue
        modules = packages.setdefault(str(path.relative_to(ROOT)), set())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return packages


def test_benches_and_the_package_import_no_tests() -> None:
    files = imported("bench") | imported("mlcweb") | imported("docs")
    assert "bench/run.py" in files and "mlcweb/cli/__init__.py" in files
    wrong = {path: m for path, modules in files.items() for m in modules if m.split(".")[0] == "tests"}
    assert wrong == {}
    assert not [path for path, modules in imported("mlcweb").items() if "bench" in modules]


def test_what_tests_share_is_not_in_a_file_of_tests() -> None:
    files = imported("tests")
    assert (
        "tests.support.tiny"
        in files["tests/unit/test_prompt.py"] | files["tests/unit/test_compile_bundle.py"]
    )
    wrong = {
        path: module
        for path, modules in files.items()
        for module in modules
        if module.startswith("tests.") and ("conftest" in module or ".test_" in module)
    }
    assert wrong == {}
