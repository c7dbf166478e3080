"""What the pages say holds: links lead somewhere, commands parse, code compiles, examples fit the schema."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import textwrap
from itertools import takewhile
from pathlib import Path
from typing import Any

import click
import pytest

from mlcweb.cli.command import cli
from tests.support.pages import ROOT, CodeBlock, blocks_of
from tests.support.program import program

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

PAGES = [
    *(
        ROOT / name
        for name in (
            "README.md",
            "CONTRIBUTING.md",
            "CHANGELOG.md",
            "mlcweb/README.md",
            "runtime-js/README.md",
            "tests/README.md",
        )
    ),
    *sorted((ROOT / "docs").glob("*.md")),
]
SHELL = ("sh", "bash", "console")
SCRIPT = ("js", "ts", "javascript", "typescript")

BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def prose(page: Path) -> str:
    """The page without its code."""
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """Headings' anchors, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    slugs: set[str] = set()
    for heading in re.findall(r"^#+ +(.+)$", text, flags=re.M):
        base = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        name, again = base, 0
        while name in slugs:
            again += 1
            name = f"{base}-{again}"
        slugs.add(name)
    return slugs


def links(page: Path) -> list[str]:
    text = prose(page)
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?:src|srcset|href)=\"([^\"]+)\"", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_anchors_resolve(page: Path) -> None:
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        assert target.is_relative_to(ROOT), f"{link} leaves the repository"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {link}, which has no such heading"


def test_every_page_is_reachable_from_the_readme() -> None:
    readme = ROOT / "README.md"
    reached, todo = {readme}, [readme]
    while todo:
        page = todo.pop()
        for link in links(page):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.exists() and target not in reached:
                reached.add(target)
                todo.append(target)
    assert set(PAGES) <= reached


def commands(block: CodeBlock) -> list[list[str]]:
    """The words of each ``mlcweb`` or ``make`` command line."""
    shell_lines = []
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        words = list(takewhile(lambda word: word not in ("|", ">", "2>&1"), words))
        if words and Path(words[0]).name in ("mlcweb", "make"):
            shell_lines.append([Path(words[0]).name, *words[1:]])
    return shell_lines


def parse(words: list[str]) -> None:
    """Parse a command line and run nothing. Arguments are not looked up: a bundle need not be there."""
    parent = click.Context(cli, **cli.context_settings)  # click keeps the first context's names of --help
    verb = cli.get_command(parent, words[0])
    assert verb is not None, f"no verb {words[0]}"
    context = click.Context(verb, info_name=words[0], parent=parent, resilient_parsing=True)
    parser = verb.make_parser(context)
    values, rest, _ = parser.parse_args(list(words[1:]))
    assert not rest, f"too many arguments: {rest}"
    for parameter in verb.params:
        value = values.get(parameter.name or "")
        if isinstance(parameter, click.Argument):
            given = isinstance(value, str) or (isinstance(value, tuple) and value)
            assert not parameter.required or given, f"{words[0]} lacks {parameter.name}"
        elif isinstance(value, str):
            parameter.type.convert(value, parameter, context)


def test_commands_parse() -> None:
    seen = 0
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M)
    for block in BLOCKS:
        if block.language not in SHELL:
            continue
        for called, *words in commands(block):
            seen += 1
            try:
                if called == "make":
                    assert all(word in targets for word in words), f"no such target: {words}"
                else:
                    parse(words)
            except (click.ClickException, AssertionError) as error:
                pytest.fail(f"{block}: {called} {shlex.join(words)}: {error}")
    assert seen > 5


def test_options_named_in_prose_exist() -> None:
    """``mlcweb VERB --option`` in running text."""
    for page in PAGES:
        for code in re.findall(r"`mlcweb ([a-z][a-z-]*)([^`\n]*)`", page.read_text()):
            verb = cli.get_command(click.Context(cli), code[0])
            assert verb is not None, f"{page.name} names the verb {code[0]}"
            options = [name for one in verb.params for name in (*one.opts, *one.secondary_opts)]
            known = {*options, "--help", "-h"}
            assert set(re.findall(r"--[a-z-]+", code[1])) <= known, f"{page.name}: mlcweb {''.join(code)}"


def test_a_wrong_command_would_be_noticed() -> None:
    for line in (
        "compile",
        "compile x --quantum q4",
        "chat b --tier f8",
        "bench b --prefill many",
        "publish x",
    ):
        with pytest.raises((click.ClickException, AssertionError)):
            parse(shlex.split(line))


def test_data_and_python_parse() -> None:
    parsers: dict[str, Any] = {
        "json": json.loads,
        "toml": tomllib.loads,
        "python": ast.parse,
        "py": ast.parse,
    }
    for block in BLOCKS:
        if block.language in parsers:
            try:
                parsers[block.language](block.text)
            except (ValueError, SyntaxError) as error:
                pytest.fail(f"{block}: {error}")


ADD_A_MODEL = ROOT / "docs" / "add-a-model.md"


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.page == ADD_A_MODEL and b.language == "python"], ids=str
)
def test_python_is_taken_from_a_file_that_the_page_links_to(block: CodeBlock) -> None:
    paths = [(block.page.parent / link).resolve() for link in links(block.page) if link.endswith(".py")]
    sources = [path.read_text() for path in paths]
    shapes = [f"\n{textwrap.indent(block.text, ' ' * columns)}" for columns in (0, 4)]
    assert any(shape in source for shape in shapes for source in sources), f"{block} is in none of the files"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in SCRIPT], ids=str)
def test_scripts_import_what_the_engine_exports(block: CodeBlock) -> None:
    names = [
        name.strip()
        for actual in re.findall(
            r"import \{([^}]+)\} from \"(?:mlcweb|mlcweb/core|\./mlcweb\.js)\"", block.text
        )
        for name in actual.split(",")
    ]
    assert set(names) <= exported()
    for name, door in re.findall(
        r"import \{([^}]+)\} from \"mlcweb/(openai|ai-sdk|prompt-api)\"", block.text
    ):
        index = ROOT / "runtime-js" / "src" / door.replace("-", "_") / "index.ts"
        assert re.search(rf"export \{{[^}}]*\b{name.strip()}\b", index.read_text()), f"{block}: {name}"


def exported() -> set[str]:
    """What runtime-js/src/index.ts exports, values only."""
    source = ROOT / "runtime-js" / "src"
    text = "".join((source / f).read_text() for f in ("index.ts", "core.ts", "engine/index.ts"))
    listed = [n.strip() for group in re.findall(r"export \{([^}]+)\}", text) for n in group.split(",")]
    errors = re.findall(r"export class (\w+)", (source / "errors.ts").read_text())
    return {name for name in listed if not name.startswith("type ")} | set(errors)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in ("js", "javascript")], ids=str)
def test_scripts_parse(block: CodeBlock, tmp_path: Path) -> None:
    node = shutil.which("node", path=f"{ROOT / '.venv' / 'bin'}:{os.environ.get('PATH', '')}")
    if node is None:
        pytest.skip("no Node here")
    file = tmp_path / "example.mjs"
    file.write_text(block.text)
    done = subprocess.run([node, "--check", str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{block}: {done.stderr}"


def test_error_codes_are_all_explained() -> None:
    """Each code that the engine can throw has its row, and no row is for a code that it cannot."""
    source = (ROOT / "runtime-js" / "src" / "errors.ts").read_text()
    codes = set(re.findall(r"super\(\s*\"([a-z-]+)\"", source))
    page = (ROOT / "docs" / "engine.md").read_text().split("## Errors", 1)[1]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", page, flags=re.M)) == codes
    shown = (ROOT / "runtime-js" / "pages" / "explain.ts").read_text()
    titled = set(re.findall(r"^  \"?([a-z-]+)\"?: \{ title", shown, flags=re.M))
    assert titled == codes


def test_load_options_are_all_documented() -> None:
    source = (ROOT / "runtime-js" / "src" / "engine" / "options.ts").read_text()
    options = re.search(r"interface LoadOptions \{(.*?)\n\}", source, flags=re.S)
    assert options
    page = (ROOT / "docs" / "engine.md").read_text()
    for name in re.findall(r"readonly (\w+)\?", options[1]):
        assert re.search(rf"^\| `{name}[`(]", page, flags=re.M), f"docs/engine.md does not explain {name}"


def test_request_parameters_are_all_documented() -> None:
    source = (ROOT / "runtime-js" / "src" / "chat" / "request.ts").read_text()
    tables = re.findall(r"const (SAMPLING|CHAT|COMPLETION) = \{(.*?)\n\}", source, flags=re.S)
    assert len(tables) == 3
    page = (ROOT / "docs" / "engine.md").read_text()
    for _, fields in tables:
        names = re.findall(r"^  (\w+):", fields, flags=re.M)
        assert names
        for name in names:
            assert re.search(rf"`{name}[`.:]", page), f"docs/engine.md does not mention {name}"


def test_parameters_of_requests_about_texts_are_all_documented() -> None:
    folder = ROOT / "runtime-js" / "src" / "embed"
    page = (ROOT / "docs" / "embeddings.md").read_text()
    for file, table in (("work.ts", "COMMON"), ("embeddings.ts", "EMBEDDING"), ("rerank.ts", "RERANK")):
        fields = re.search(rf"const {table} = \{{(.*?)\n\}}", (folder / file).read_text(), flags=re.S)
        assert fields, file
        for name in re.findall(r"^  (\w+)[:,]", fields[1], flags=re.M):
            assert re.search(rf"`{name}[`(]", page), f"docs/embeddings.md does not mention {name}"


def example(heading: str) -> Any:
    """The JSON-like example under a heading of the format page, with its ellipses filled in."""
    page = (ROOT / "docs" / "bundle-format.md").read_text()
    text = page.split(f"## {heading}\n", 1)[1].split("```")[1]
    text = re.sub(r", …(?=[\]}])", "", text)
    return json.loads(text.replace("…", "0"))


@pytest.mark.parametrize(
    ("heading", "schema"), [("Manifest", "manifest"), ("Plan", "plan"), ("Catalog", "catalog")]
)
def test_the_format_pages_examples_have_the_schemas_keys(heading: str, schema: str) -> None:
    rules = json.loads((ROOT / "mlcweb" / "contract" / "schemas" / f"{schema}.schema.json").read_text())
    compare(example(heading), rules, rules, heading)


def compare(value: Any, rule: Any, root: Any, path: str) -> None:
    """Every key of the example is in the schema, and every key that the schema requires is in the example."""
    while "$ref" in rule:
        target = root
        for part in rule["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        rule = target
    if isinstance(value, dict) and "properties" in rule:
        known = set(rule["properties"])
        if "entries" not in path:  # the example shows one entry of the three
            assert set(rule.get("required", ())) <= set(value), f"{path} lacks a key"
        if rule.get("additionalProperties") is False:
            assert set(value) <= known, f"{path}: {set(value) - known} is in no bundle"
        for key in set(value) & known:
            compare(value[key], rule["properties"][key], root, f"{path}.{key}")
    elif isinstance(value, list) and isinstance(rule.get("items"), dict):
        for item in value:
            compare(item, rule["items"], root, f"{path}[]")


# Spelled in parts, so that this file passes its own test.
REGISTRIES = [".".join(parts) for parts in (
    ("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"), ("yarnpkg", "com"),
    ("unpkg", "com"), ("jsdelivr", "net"), ("esm", "sh"), ("crates", "io"),
)]  # fmt: skip


def test_no_registry_is_named_by_host() -> None:
    for page in [*PAGES, *(ROOT / "docs" / "images").glob("*.py"), Path(__file__)]:
        text = page.read_text().lower()
        assert not [host for host in REGISTRIES if host in text], page.name


def test_pictures_are_small_and_used() -> None:
    used = {Path(link).name for page in PAGES for link in links(page)}
    for picture in (ROOT / "docs" / "images").glob("*.png"):
        assert picture.stat().st_size < 300_000
        assert picture.name in used


def test_the_pipeline_is_drawn_by_its_script_and_its_labels_fit() -> None:
    drawing = program("docs/images/pipeline.py")
    for name, palette in drawing.PICTURES.items():
        assert (ROOT / "docs" / "images" / name).read_text() == drawing.draw(palette), (
            f"run {drawing.__file__}"
        )
        for page in ("README.md", "docs/architecture.md"):
            assert f"images/{name}" in (ROOT / page).read_text()
    for box in drawing.BOXES:
        assert box.x > 10 and box.right < drawing.WIDTH - 10 and box.bottom < drawing.HEIGHT
        assert all(len(line) * 6.4 < box.width for line in box.lines), box


def test_the_engines_size_is_current() -> None:
    sizes = program("scripts/engine_size.py")
    for page in PAGES:
        text, name = page.read_text(), str(page.relative_to(ROOT))
        assert bool(sizes.MARK.search(text)) == (name in sizes.PAGES), (
            f"{name} and PAGES of engine_size.py differ"
        )
        assert not re.search(r"\d KiB of JavaScript", text.replace("<!---->", "")) or name in sizes.PAGES
    if not (sizes.BUILT / "mlcweb.js").is_file():
        pytest.skip("the engine is not built: run `make engine`")
    for name in sizes.PAGES:
        text = (ROOT / name).read_text()
        assert sizes.filled(text) == text, f"{name}: run `make docs`"


def test_the_numbers_have_their_place() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.count("<!-- numbers:begin -->") == text.count("<!-- numbers:end -->") == 1
    numbers = text.split("<!-- numbers:begin -->")[1].split("<!-- numbers:end -->")[0]
    assert len(re.findall(r"^\| .*\d.* \|$", numbers, flags=re.M)) == 6
    assert text.index("<!-- numbers:end -->") < text.index("## ")  # on the first screen
    assert len(text.splitlines()) < 220
