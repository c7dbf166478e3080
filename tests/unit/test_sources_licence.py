"""The licence in a model card's front matter."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlcweb.sources.licence import clean_licence, read_licence


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n", "apache-2.0"),
        ("---\r\nlanguage:\r\n- en\r\nlicense: 'mit'  # ours\r\n---\r\n", "mit"),
        ("---\nlicense: other\nlicense_name: our-licence\n---\n", "our-licence"),
        ("---\nlicense: other\n---\n", "other"),
        ("---\nlanguage: en\n---\nlicense: mit\n", ""),
        ("license: mit\n", ""),
        ("", ""),
    ],
)
def test_front_matter(card: str, licence: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(card.encode())
    assert read_licence(tmp_path) == licence


def test_no_card(tmp_path: Path) -> None:
    assert read_licence(tmp_path) == ""


@pytest.mark.parametrize("value", [None, 7, ["mit"], "x" * 101])
def test_what_is_no_name(value: object) -> None:
    assert clean_licence(value) == ""
