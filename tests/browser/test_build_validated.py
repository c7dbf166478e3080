"""``mlcweb build`` with its validation: what does not pass is not published, and what passed is not run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlcweb.cli.command import run
from tests.support.building import caches, tiny_list


def build(capsys: pytest.CaptureFixture[str], path: Path, status: int = 0) -> dict[str, Any]:
    assert run(["build", str(path), "--format", "json"]) == status
    (bundle,) = json.loads(capsys.readouterr().out)["bundles"]
    assert isinstance(bundle, dict)
    return bundle


def test_only_what_passes_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in caches(tmp_path).items():
        monkeypatch.setenv(name, value)
    path = tiny_list(tmp_path, 1)
    listed = path.read_text()
    path.write_text(listed.replace('target = "www"', "validate = false"))
    build(capsys, path)
    path.write_text(listed)

    # another letter in a file, of the same length: the compiler's check of sizes passes it
    (tokenizer,) = (tmp_path / "dist" / "tiny-0-q4f32_1").glob("tokenizer.*.json")
    whole = tokenizer.read_bytes()
    tokenizer.write_bytes(whole.replace(b"{", b"[", 1))
    failed = build(capsys, path, status=1)
    assert (failed["failed"], failed["there"]) == ("validate", ["compile"])
    assert not (tmp_path / "www").exists()

    tokenizer.write_bytes(whole)
    made = build(capsys, path)
    assert set(made["seconds"]) == {"validate", "publish"} and (tmp_path / "www" / "catalog.json").is_file()
    (tmp_path / "www" / "catalog.json").unlink()  # it is published again, and not validated
    again = build(capsys, path)
    assert again["there"] == ["compile", "validate"] and set(again["seconds"]) == {"publish"}
