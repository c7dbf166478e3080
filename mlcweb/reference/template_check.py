"""Checks that a chat template uses only what the engine (``runtime-js/src/jinja``) renders as jinja2 does."""

from __future__ import annotations

import re
from collections.abc import Iterator

from jinja2 import Environment, nodes
from jinja2.idtracking import VAR_LOAD_UNDEFINED, find_symbols

from mlcweb.errors import UnsupportedError


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


FILTERS = _names(
    "abs attr batch capitalize center count d default dictsort e escape first float forceescape format groupby "
    "indent int items join last length list lower map max min reject rejectattr replace reverse round safe select "
    "selectattr slice sort string sum title tojson trim truncate unique upper urlencode wordcount"
)
TESTS = _names(
    "boolean callable defined divisibleby eq equalto == even false float ge gt greaterthan >= > in integer iterable "
    "le lessthan lower lt < <= mapping ne none != number odd sameas sequence string true undefined upper"
)
METHODS = _names(
    "capitalize center count endswith find format index isalnum isalpha isascii isdecimal isdigit islower isnumeric "
    "isspace istitle isupper join ljust lower lstrip partition removeprefix removesuffix replace rfind rindex rjust "
    "rpartition rsplit rstrip split splitlines startswith strip swapcase title upper zfill "
    "copy get items keys values"
)
# Widths, alternative digits and such; a letter that stands for nothing is printed as it is.
_DATE_CODE = re.compile(r"%[-_0^#]*(?:([1-9EO:])|.)", re.DOTALL)

# What changes a list or a dict: the sandbox forbids it, in Python and in the engine.
_FORBIDDEN = _names("append clear extend insert pop popitem remove reverse setdefault sort update")
_PYTHON = frozenset(
    name for kind in (str, dict, list, tuple, int, float) for name in dir(kind) if not name.startswith("_")
)
# Their text is escaped HTML, and stays apart from other text: what is added to it is escaped too.
_MARKUP = frozenset(("e", "escape", "forceescape", "safe"))
# Variables that a chat has without asking for them.
_GIVEN = re.compile(r"messages|tools|documents|add_generation_prompt|\w+_token|strftime_now|raise_exception")
_APPLY_FILTER = frozenset(("map",))
_APPLY_TEST = {"select": 0, "reject": 0, "selectattr": 1, "rejectattr": 1}
_LARGEST = 2**53 - 1


def check_template(environment: Environment, source: str, name: str) -> None:
    """Raises UnsupportedError for the first construct that the engine lacks, by its name and line.

    Raises jinja2's TemplateSyntaxError for what is no template. ``name`` is the template's, of several.
    """
    tree = environment.parse(source)
    for line, what in (*_in_tokens(environment, source), *_in_nodes(tree), *_set_late(tree)):
        which = "" if name == "default" else f" {name!r}"
        raise UnsupportedError(
            f"line {line} of the chat template{which} in tokenizer_config.json has {what}, which the engine lacks",
            hint="Change that line of the checkpoint's chat template, and compile again.",
        )


def _in_tokens(environment: Environment, source: str) -> Iterator[tuple[int, str]]:
    for line, kind, text in environment.lex(source):
        if kind == "string" and re.search(r"(?<!\\)(?:\\\\)*\\N\{", text):
            yield line, "a character by its name, \\N{…}"


def _in_nodes(tree: nodes.Template) -> Iterator[tuple[int, str]]:
    printed: set[int] = set()  # what is only printed, where escaped HTML is text like any other
    for node in _walk(tree):
        if isinstance(node, (nodes.Output, nodes.Concat)):
            printed.update(map(id, node.nodes))
        elif isinstance(node, nodes.FilterBlock):
            printed.add(id(node.filter))
        elif isinstance(node, nodes.CondExpr) and id(node) in printed:
            printed.update((id(node.expr1), id(node.expr2)))
        what = _lacking(node, id(node) in printed)
        if what:
            yield node.lineno, what


def _set_late(tree: nodes.Template) -> Iterator[tuple[int, str]]:
    """What a chat gives, read in a loop or block before the template sets it: jinja2 takes it for undefined there."""
    symbols = find_symbols(tree.body)
    for name, target in symbols.refs.items():
        if not _GIVEN.fullmatch(name) or symbols.loads.get(target, ("",))[0] != VAR_LOAD_UNDEFINED:
            continue
        first = next(node for node in _in_order(tree) if isinstance(node, nodes.Name) and node.name == name)
        if first.ctx == "load":
            yield first.lineno, f"{name!r} in a block before it is set, where Jinja takes it for undefined"


def _in_order(node: nodes.Node) -> Iterator[nodes.Node]:
    """A node and what is in it, as it is executed: values before their names."""
    yield node
    late = ("target",) if isinstance(node, (nodes.Assign, nodes.AssignBlock)) else ()
    for child in (*node.iter_child_nodes(exclude=late), *node.iter_child_nodes(only=late or ("",))):
        yield from _in_order(child)


def _walk(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    for child in node.iter_child_nodes():
        yield from _walk(child)


def _lacking(node: nodes.Node, printed: bool) -> str:
    """What of a node the engine lacks, in words, or nothing."""
    if isinstance(node, (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport, nodes.Block)):
        kind = {
            "Extends": "extends",
            "Include": "include",
            "Import": "import",
            "FromImport": "from",
            "Block": "block",
        }
        return f"the statement {kind[type(node).__name__]!r}"
    if isinstance(node, nodes.Filter):
        if node.name not in FILTERS:
            return f"the filter {node.name!r}"
        if node.name in _MARKUP and not printed:
            return f"the filter {node.name!r} for something else than printing"
        return _applied(node)
    if isinstance(node, nodes.Test) and node.name not in TESTS:
        return f"the test {node.name!r}"
    if isinstance(node, nodes.Const) and type(node.value) is int and abs(node.value) > _LARGEST:
        return f"the number {node.value}"
    if isinstance(node, nodes.Name) and node.ctx == "load" and node.name in ("lipsum", "self"):
        return f"{node.name!r}"
    return _called(node) if isinstance(node, nodes.Call) else ""


def _applied(node: nodes.Filter) -> str:
    """The filter or test that a filter is told to apply to each of many values."""
    at = 0 if node.name in _APPLY_FILTER else _APPLY_TEST.get(node.name)
    if at is None or len(node.args) <= at:
        return ""
    named = node.args[at]
    if not isinstance(named, nodes.Const):
        return f"the filter {node.name!r} with a name that only a chat gives"
    if node.name in _APPLY_FILTER:
        return "" if named.value in FILTERS - _MARKUP else f"the filter {named.value!r}"
    return "" if named.value in TESTS else f"the test {named.value!r}"


def _called(node: nodes.Call) -> str:
    target = node.node
    if isinstance(target, nodes.Getattr) and target.attr in _PYTHON - METHODS - _FORBIDDEN:
        return f"the method {target.attr!r}"
    if isinstance(target, nodes.Name) and target.name == "strftime_now" and node.args:
        form = node.args[0].value if isinstance(node.args[0], nodes.Const) else ""
        for match in _DATE_CODE.finditer(str(form)):
            if match[1]:
                return f"the date format {match[0] + '…'!r}"
    return ""
