"""`mlcweb validate` over the network: a page on another origin, hosts that are wrong, and several bundles at once."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mlcweb.cli.command import run
from mlcweb.serve import serving
from mlcweb.serve.handler import AnyOriginHandler
from tests.support.browser.engine_server import EngineServer
from tests.support.browser.mini_bundle import Mini
from tests.support.engine import needs_engine

pytestmark = [pytest.mark.usefixtures("chromium"), needs_engine]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Mini().write(tmp_path_factory.mktemp("site") / "mini")


def found(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, str], str]:
    """Of one bundle, each check's result; and what was said."""
    said = capsys.readouterr()
    (report,) = json.loads(said.out)["bundles"]
    return {check["name"]: check["result"] for check in report["checks"]}, said.err


def validate(url: str) -> int:
    return run(["validate", url, "--format", "json"])


def test_a_url_is_loaded_from_where_it_is(
    host: EngineServer, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert validate(f"{host.url}bundle/?token=secret") == 0
    said = capsys.readouterr()
    (report,) = json.loads(said.out)["bundles"]
    assert report["bundle"] == f"{host.url}bundle/" and report["model"] == "mini"
    checks = {check["name"]: check for check in report["checks"]}
    assert {name: check["result"] for name, check in checks.items()} == {
        "files": "pass",
        "tier f16": "skip",
        "tier base": "pass",
    }
    assert checks["tier f16"]["said"].startswith("the browser lacks ")
    assert "no-such-feature" in checks["tier f16"]["said"]
    (tier,) = report["tiers"]
    assert tier["tokens"] == tier["expected"] and len(tier["tokens"]) == 8
    files = json.loads((bundle / "mlcweb.json").read_text())["files"]
    assert {name: host.hits[name] for name in files} == dict.fromkeys(files, 1), "each file once, all of them"
    assert all(path.endswith("?token=secret") for path in host.asked)
    assert "secret" not in said.out + said.err


def test_a_host_that_lets_no_page_read(host: EngineServer, capsys: pytest.CaptureFixture[str]) -> None:
    host.origins = ""
    assert validate(f"{host.url}bundle/") == 1
    checks, said = found(capsys)
    assert checks == {"files": "fail"}
    assert "No 'Access-Control-Allow-Origin' header is present" in said
    assert f"hint: `mlcweb check-host {host.url}bundle/` says what a page meets there." in said


def test_a_page_in_place_of_the_bundle(host: EngineServer, capsys: pytest.CaptureFixture[str]) -> None:
    host.portal = True
    assert validate(f"{host.url}bundle/") == 1
    checks, said = found(capsys)
    assert checks == {"files": "fail"}
    assert "A web page came in place of mlcweb.json" in said and "mlcweb check-host" in said


def test_damage_is_found_in_files_that_no_tier_here_loads(
    host: EngineServer, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernels, weights = next(bundle.glob("kernels.f16.*")).name, next(bundle.glob("weights-003.*")).name
    host.damage = {kernels, weights}
    assert validate(f"{host.url}bundle/") == 1
    checks, said = found(capsys)
    assert checks == {"files": "fail"}, "no tier was tried"
    assert "sha256 is not the one in the manifest. (2 of 16 files are wrong)" in said
    assert kernels in said or weights in said


@pytest.mark.parametrize(
    ("change", "message"),
    [({"version": 99}, "format version 99"), ({"validation": None}, "holds no expected answer")],
)
def test_a_bundle_that_cannot_be_validated(
    change: dict[str, object],
    message: str,
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest = {**json.loads((bundle / "mlcweb.json").read_text()), **change}
    (tmp_path / "mlcweb.json").write_text(
        json.dumps({name: v for name, v in manifest.items() if v is not None})
    )
    with serving(tmp_path, handler=AnyOriginHandler) as server:
        assert validate(f"{server.url}bundle/") == 1
    checks, said = found(capsys)
    assert checks == {"files": "fail"}
    assert message in said


def test_it_goes_on_after_a_bundle_that_fails_and_tells_ci(
    host: EngineServer,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    junit = tmp_path / "report.xml"
    bundles = [str(tmp_path / "none"), f"{host.url}nothing/", str(bundle)]
    assert run(["validate", *bundles, "--junit", str(junit)]) == 1
    said = capsys.readouterr()
    assert "error: 2 of 3 bundles failed" in said.err
    assert f"{bundles[1]}: files: There is no bundle at {bundles[1]}: mlcweb.json answered 404." in said.err
    assert f"`mlcweb check-host {bundles[1]}` says" in said.err
    assert [line.split("::")[1] for line in said.err.splitlines() if line.startswith("::")] == [
        f"error title={bundle.replace(':', '%3A')}%3A files" for bundle in bundles[:2]
    ]
    assert [line.split()[-1] for line in said.out.splitlines()[1:]][:2] == ["FAIL", "FAIL"]
    assert said.out.splitlines()[-1].endswith("pass")
    root = ElementTree.parse(junit).getroot()
    assert [suite.get("name") for suite in root] == bundles
    assert [suite.get("failures") for suite in root] == ["1", "1", "0"]
    names = [case.get("name") for case in root[2].iter("testcase")]
    assert names == ["files", "tier f16", "tier base"]
    written = (tmp_path / "summary.md").read_text()
    assert written.startswith("### mlcweb validate: 2 of 3 bundles failed") and "tier base" in written


def test_a_catalogs_url_means_its_bundles(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["publish", str(bundle), str(tmp_path)]) == 0
    capsys.readouterr()
    with serving(tmp_path, handler=AnyOriginHandler) as server:
        url = f"{server.url}bundle/"
        assert validate(f"{url}catalog.json") == 0
        (report,) = json.loads(capsys.readouterr().out)["bundles"]
        assert report["bundle"].rstrip("/") == f"{url}mini" and report["passed"]
        assert validate(f"{url}none/catalog.json") == 1
        assert found(capsys)[0] == {"files": "fail"}
        (tmp_path / "catalog.json").write_text('{"format": "mlcweb-catalog", "version": 1, "models": []}')
        assert validate(f"{url}catalog.json") == 1
    checks, said = found(capsys)
    assert checks == {"files": "fail"} and "lists no bundles: there is nothing to check" in said


def test_a_browser_that_can_run_no_tier(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in bundle.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((bundle / "mlcweb.json").read_text())
    tiers = [tier for tier in manifest["tiers"] if tier["name"] == "f16"]
    (tmp_path / "mlcweb.json").write_text(json.dumps({**manifest, "tiers": tiers}))
    assert validate(str(tmp_path)) == 1
    checks, said = found(capsys)
    assert checks == {"files": "pass", "tier f16": "skip", "tiers": "fail"}
    assert "no tier can be checked" in said and "f16 needs " in said and "no-such-feature" in said
    assert run(["validate", str(tmp_path), "--tier", "f16"]) == 1
    assert "cannot run the tier f16" in capsys.readouterr().err
