"""What docs/hosts.md sets where no test can start the host: its rules, applied to a bundle's names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import pytest

from tests.support.pages import ROOT, blocks_of

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

BLOCKS = blocks_of(ROOT / "docs" / "hosts.md")
FIXED = "public, max-age=31536000, immutable"
EXPOSED = ["Content-Range", "Retry-After"]
SHARED = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": ", ".join(EXPOSED)}
ASK = ("no-cache", None)  # None: these hosts' own says the same
CHANGING = ("catalog.json", "web/Model-q4f32_1/mlcweb.json", "Model-q4f32_1/mlcweb.json", "chat.html")
HASHED = tuple(
    f"Model/{name}"
    for name in ("weights-000.0123abcd.bin", "model.0123abcd.wasm", "kernels.base.0123abcd.wgsl")
)

Rules = list[tuple[Callable[[str], object], dict[str, str]]]


def block(language: str, having: str = "") -> str:
    (one,) = [b.text for b in BLOCKS if b.language == language and having in b.text]
    return one


def glob(pattern: str) -> Callable[[str], object]:
    return lambda path: fnmatchcase(path, pattern)


def cloudflare_pages() -> Rules:
    rules: Rules = []
    for line in block("", "/*.bin").splitlines():
        if line and not line.startswith(" "):
            rules.append((glob(line), {}))
        elif line:
            name, _, value = line.strip().partition(": ")
            rules[-1][1][name] = value
    return rules


def netlify() -> Rules:
    return [(glob(one["for"]), one["values"]) for one in tomllib.loads(block("toml"))["headers"]]


def vercel() -> Rules:
    def rule(one: dict[str, Any]) -> tuple[Callable[[str], object], dict[str, str]]:
        pattern = re.compile(one["source"])
        return pattern.fullmatch, {header["key"]: header["value"] for header in one["headers"]}

    return [rule(one) for one in json.loads(block("json", '"source"'))["headers"]]


@pytest.mark.parametrize("rules", [cloudflare_pages, netlify, vercel])
def test_rules_give_each_file_its_headers(rules: Callable[[], Rules]) -> None:
    for name in (*CHANGING, *HASHED, "Model/tokenizer.0123abcd.json"):
        found: dict[str, str] = {}
        for matches, headers in rules():
            if matches(f"/{name}"):
                # Pages would join two values with a comma
                assert rules is not cloudflare_pages or not headers.keys() & found.keys()
                found.update(headers)
        cache = found.pop("Cache-Control", None)
        assert found == SHARED, name
        if name in HASHED:
            assert cache == FIXED, name
        elif name in CHANGING:
            assert cache in ASK, name
        else:
            assert cache in (FIXED, None)


def test_stores_allow_every_origin_and_expose_what_a_resumption_needs() -> None:
    (s3,) = json.loads(block("json", "CORSRules"))["CORSRules"]
    assert (s3["AllowedOrigins"], s3["ExposeHeaders"]) == (["*"], EXPOSED) and "GET" in s3["AllowedMethods"]
    (r2,) = json.loads(block("json", '"rules"'))["rules"]
    assert (r2["allowed"]["origins"], r2["exposeHeaders"]) == (["*"], EXPOSED)
    cloudfront = json.loads(block("json", "CorsConfig"))["CorsConfig"]
    for one in cloudfront.values():
        assert isinstance(one, bool) or one["Quantity"] == len(one["Items"])
    assert cloudfront["AccessControlAllowOrigins"]["Items"] == ["*"]
    assert cloudfront["AccessControlExposeHeaders"]["Items"] == EXPOSED


def test_every_host_of_the_table_has_its_section() -> None:
    page = (ROOT / "docs" / "hosts.md").read_text()
    named = re.findall(r"^\| \[([^\]]+)\]", page, flags=re.M)
    assert len(named) == 9 and all(f"\n## {name}\n" in page for name in named)
