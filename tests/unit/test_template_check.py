"""What a chat template may use, and what is refused while compiling, by its name and line."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.reference.template import ChatTemplate
from mlcweb.reference.template_check import FILTERS, METHODS, TESTS
from tests.fixtures.text.make_constructs import FIXTURE
from tests.fixtures.text.make_templates import FOLDER


def check(template: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ChatTemplate({"chat_template": template}).check()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.jinja")), ids=lambda path: str(path.stem))
def test_every_family_passes(path: Path) -> None:
    check(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", FIXTURE["cases"], ids=lambda case: str(case["template"])[:60])
def test_what_the_engine_renders_passes(case: dict[str, Any]) -> None:
    check(case["template"])


def test_what_passes_by_name_is_rendered_by_the_engines_tests() -> None:
    rendered = " ".join(case["template"] for case in FIXTURE["cases"] if "text" in case)
    for name in FILTERS:
        assert re.search(rf"(\||filter) ?{name}\b", rendered), f"no construct has the filter {name}"
    for name in METHODS:
        assert f".{name}(" in rendered, f"no construct has the method {name}"
    for name in TESTS:
        as_test = rf"is (not )?{name}\b" if name.isalpha() else rf"'{re.escape(name)}'"
        assert re.search(as_test, rendered), f"no construct has the test {name}"


@pytest.mark.parametrize(
    ("template", "what", "line"),
    [
        ("a\n{{ x | xmlattr }}", "the filter 'xmlattr'", 2),
        ("{{ x | pprint }}", "the filter 'pprint'", 1),
        ("{{ xs | map('striptags') | list }}", "the filter 'striptags'", 1),
        ("{{ xs | map(name) | list }}", "the filter 'map' with a name", 1),
        ("{{ xs | select('escaped') | list }}", "the test 'escaped'", 1),
        ("{{ xs | rejectattr('a', 'filter') | list }}", "the test 'filter'", 1),
        ("{{ x is escaped }}", "the test 'escaped'", 1),
        ("\n\n{{ x.encode('utf-8') }}", "the method 'encode'", 3),
        ("{{ 'ß'.casefold() }}", "the method 'casefold'", 1),
        ("{% include 'x' %}", "the statement 'include'", 1),
        ("{% import 'x' as y %}", "the statement 'import'", 1),
        ("{% from 'x' import y %}", "the statement 'from'", 1),
        ("{% extends 'x' %}", "the statement 'extends'", 1),
        ("{% block b %}{% endblock %}", "the statement 'block'", 1),
        (
            "{% for i in [1] %}\n{{ tools }}{% endfor %}{% set tools = 1 %}",
            "'tools' in a block before it is set",
            2,
        ),
        ("{% set bos_token %}<{{ bos_token }}>{% endset %}", "'bos_token' in a block before it is set", 1),
        ("{{ lipsum() }}", "'lipsum'", 1),
        ("{% set t = x | e %}{{ t }}", "the filter 'e' for something else than printing", 1),
        ("{{ (x | safe) + '<' }}", "the filter 'safe' for something else than printing", 1),
        ("{{ 99999999999999999999 }}", "the number 99999999999999999999", 1),
        ("{{ '\\N{EM DASH}' }}", "a character by its name", 1),
        ("{{ strftime_now('%d %10Y') }}", "the date format '%1…'", 1),
        ("{{ strftime_now('%-Od') }}", "the date format '%-O…'", 1),
    ],
)
def test_what_the_engine_lacks_is_refused(template: str, what: str, line: int) -> None:
    with pytest.raises(UnsupportedError) as caught:
        check(template)
    assert caught.value.message.startswith(
        f"line {line} of the chat template in tokenizer_config.json has {what}"
    )
    assert caught.value.hint


@pytest.mark.parametrize(
    "template",
    [
        "{{ x | e }}{{ 'a' ~ (x | safe) }}{{ x | safe if x else x | e }}{% filter e %}<{% endfilter %}",
        "{{ strftime_now('%%1 %Q %') }}{{ '\\\\N{DASH}' }}",
        "{% set tools = tools or [] %}{% for m in messages %}{{ tools }}{% endfor %}{% set tools = none %}",
        "{% macro f(tools) %}{{ tools }}{% endmacro %}{% set tools = 1 %}{% if x %}{% set messages = 1 %}{% endif %}",
        "{% macro f() %}{{ comma }}{% endmacro %}{% set comma = ',' %}{{ f() }}",
        "{{ xs.append(1) if false }}{{ message.encode }}{{ d.real }}",
    ],
)
def test_what_it_has_is_not(template: str) -> None:
    check(template)


def test_a_template_of_several_is_named() -> None:
    templates = [{"name": "default", "template": "a"}, {"name": "tool_use", "template": "{{ x | random }}"}]
    with pytest.raises(UnsupportedError, match="line 1 of the chat template 'tool_use'"):
        check(templates)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("a\n{% if %}", "line 2"),
        ("{{ 'a }}", "line 1"),
        ("{% endif %}", "line 1"),
        ("{{ " + "(" * 3000, "nested too deeply"),
    ],
)
def test_what_is_no_template_is_named_too(template: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        check(template)
