"""``make compat`` finds WebLLM's examples, bundles them with the alias alone, and tells whose an error is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.reports.compat.folder import _NOT_OURS, DIST, TSC, Example, bundle, check_types, find_examples
from tests.reports.compat.model import VOCABULARY, write_model

built = pytest.mark.skipif(
    not (DIST / "root.js").is_file() or not TSC.is_file(), reason="the engine is not built: run `make engine`"
)
APP = 'import { CreateMLCEngine } from "@mlc-ai/web-llm";\n'


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def app(folder: Path, script: str) -> Example:
    write(
        folder,
        package__json="{}",
        main__html='<script type="module" src="./main.ts"></script>',
        main__ts=script,
    )
    return find_examples(folder.parent)[0]


def test_each_app_is_found_once(tmp_path: Path) -> None:
    write(tmp_path / "a", package__json="{}", a__html="")
    write(tmp_path / "b" / "one", package__json="{}", one__html="")
    write(tmp_path / "b" / "two", package__json="{}", two__html="")
    write(tmp_path / "c" / "node_modules" / "x", x__html="")
    write(tmp_path / "d", main__ts="")
    found = {one.name: [page.name for page in one.pages] for one in find_examples(tmp_path)}
    assert found == {"a": ["a.html"], "b/one": ["one.html"], "b/two": ["two.html"], "d": []}


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("x.ts(1,1): error TS2307: Cannot find module 'langchain'.", False),
        ("x.ts(1,1): error TS2307: Cannot find module '@mlc-ai/web-llm'.", True),
        ("x.ts(1,1): error TS2304: Cannot find name 'chrome'.", False),
        ("x.ts(1,1): error TS2304: Cannot find name 'engine'.", True),
        ("x.ts(1,1): error TS2339: Property 'x' does not exist on type 'MLCEngine'.", True),
    ],
)
def test_errors_of_what_is_not_installed_do_not_count(line: str, counts: bool) -> None:
    assert (_NOT_OURS.search(line) is None) == counts


@built
def test_an_app_compiles_and_bundles_as_it_is(tmp_path: Path) -> None:
    example = app(tmp_path / "apps" / "good", f'{APP}void CreateMLCEngine("x", {{ logLevel: "INFO" }});')
    check_types(example, tmp_path)
    bundle(example, tmp_path / "out", None)
    assert (example.types, example.bundle) == ("", "")
    assert "mlc" in example.built[example.folder / "main.ts"].read_text()


@built
def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    example = app(tmp_path / "apps" / "bad", f'{APP}import "no-such-package"; void CreateMLCEngine(5);')
    check_types(example, tmp_path)
    bundle(example, tmp_path / "out", None)
    assert example.types.startswith("main.ts(2,") and "TS2345" in example.types
    assert example.bundle == 'main.ts: Could not resolve "no-such-package"'


def test_a_page_without_scripts_is_told(tmp_path: Path) -> None:
    write(tmp_path / "plain", package__json=json.dumps({"dependencies": {}}), index__html="<p>no script")
    [example] = find_examples(tmp_path)
    bundle(example, tmp_path / "out", None)
    assert example.bundle == "its pages have no scripts here"


def test_the_model_that_stands_for_all_has_room(tmp_path: Path) -> None:
    model = json.loads((write_model(tmp_path / "model") / "mlcweb.json").read_text())["model"]
    assert (model["vocab_size"], model["context_length"]) == (VOCABULARY, 8192)
