"""Which files a request reaches: hashed ones for ever, none outside the two folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlcweb.serve.files import find_file, parse_range


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    engine, bundle = tmp_path / "engine", tmp_path / "bundle"
    for folder in (engine, engine / "parts", bundle, bundle / ".hidden"):
        folder.mkdir()
    (engine / "chat.html").write_text("chat")
    (engine / "parts" / "a.js").write_text("a")
    (engine / "parts" / "kernel.12ab34cd.wasm").write_text("w")
    (bundle / "mlcweb.json").write_text("{}")
    (bundle / "weights-000.0123abcd.bin").write_bytes(b"0123456789")
    (bundle / ".hidden" / "x").write_text("x")
    (tmp_path / "secret.txt").write_text("secret")
    (bundle / "link.txt").symlink_to(tmp_path / "secret.txt")
    return engine, bundle


@pytest.mark.parametrize(
    ("target", "name", "content_type", "immutable"),
    [
        ("/", "chat.html", "text/html; charset=utf-8", False),
        ("/?model=1#x", "chat.html", "text/html; charset=utf-8", False),
        ("/parts/a.js", "a.js", "text/javascript; charset=utf-8", False),
        ("/parts/kernel.12ab34cd.wasm", "kernel.12ab34cd.wasm", "application/wasm", False),
        ("/bundle/mlcweb.json", "mlcweb.json", "application/json", False),
        ("/bundle/weights-000.0123abcd.bin", "weights-000.0123abcd.bin", "application/octet-stream", True),
        ("/bundle/weights%2D000.0123abcd.bin", "weights-000.0123abcd.bin", "application/octet-stream", True),
    ],
)
def test_serves(
    folders: tuple[Path, Path], target: str, name: str, content_type: str, immutable: bool
) -> None:
    served = find_file(target, *folders)
    assert served is not None
    assert (served.path.name, served.content_type, served.immutable) == (name, content_type, immutable)


@pytest.mark.parametrize(
    "target",
    [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/bundle/../../secret.txt",
        "/bundle/..%2f..%2fsecret.txt",
        "/bundle/..%5c..%5csecret.txt",
        "/bundle//etc/passwd",
        "//etc/passwd",
        "/bundle/%2fetc%2fpasswd",
        "/bundle/link.txt",
        "/bundle/.hidden/x",
        "/bundle/mlcweb.json%00.html",
        "/bundle/%ff%fe",
        "/bundle/",
        "/bundle",
        "/parts",
        "/missing.html",
        "secret.txt",
        "http://[bad/",
        "/" + "a" * 300,
    ],
)
def test_refuses(folders: tuple[Path, Path], target: str) -> None:
    assert find_file(target, *folders) is None


def test_without_a_bundle_its_folder_is_not_there(folders: tuple[Path, Path]) -> None:
    assert find_file("/bundle/mlcweb.json", folders[0], None) is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-3", (0, 3)),
        ("bytes=4-", (4, 9)),
        ("bytes=-4", (6, 9)),
        ("bytes=-40", (0, 9)),
        ("bytes=8-100", (8, 9)),
        ("bytes=0-1,4-5", None),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("items=0-1", None),
        ("bytes=" + "9" * 40 + "-", None),
    ],
)
def test_ranges(header: str | None, expected: tuple[int, int] | None) -> None:
    assert parse_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_ranges_past_the_end(header: str) -> None:
    with pytest.raises(ValueError, match="bytes"):
        parse_range(header, 10)
