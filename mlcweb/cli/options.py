"""Has what the verbs share: the command decorator, and the BUNDLE argument."""

from __future__ import annotations

import os
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from mlcweb.cli.output import Output
from mlcweb.contract import constants
from mlcweb.errors import BundleError
from mlcweb.quantize.schemes import SCHEMES

DIST = Path("dist")
MANIFEST = constants.MANIFEST_NAME
TIERS = tuple(row.name for row in constants.TIERS)
QUANTIZATIONS = tuple(SCHEMES)
KV_DTYPES = constants.KV_CACHE_DTYPES

Decorator = Callable[[Callable[..., Any]], click.Command]


def verb(name: str, *, json: bool = True) -> Decorator:
    """A command with ``--debug``, and ``--format`` where it prints data; it receives the ``Output`` first."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        made = click.command(name)(click.pass_obj(function))
        if json:
            kinds = click.Choice(["text", "json"])
            said = "Print text, or one JSON document."
            made.params.append(
                click.Option(
                    ["--format"],
                    type=kinds,
                    default="text",
                    show_default=True,
                    help=said,
                    expose_value=False,
                    callback=_choose_format,
                )
            )
        debug = click.Option(
            ["--debug"], is_flag=True, expose_value=False, help="Show the traceback of an error."
        )
        made.params.append(debug)
        return made

    return decorate


def _choose_format(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if isinstance(ctx.obj, Output):
        ctx.obj.as_json = value == "json"
    return value


def built_bundles() -> list[str]:
    """The names of the bundles in ``dist/``."""
    return sorted(manifest.parent.name for manifest in DIST.glob(f"*/{MANIFEST}"))


def complete_bundle(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of built bundles, else folders."""
    names = [CompletionItem(n) for n in built_bundles() if n.lower().startswith(incomplete.lower())]
    return names or [CompletionItem(incomplete, type="dir")]


def find_bundle(value: str) -> Path:
    """The folder that ``value`` means; near names when it means none."""
    path = Path(value)
    if path.name == MANIFEST and os.path.isfile(path):
        return path.parent
    if os.path.isfile(path / MANIFEST):
        return path
    names = built_bundles()
    for name in names:
        if name.lower() == value.lower():
            return DIST / name
    if os.path.isdir(path):
        raise BundleError(
            f"{path} is not a bundle: it has no {MANIFEST}", hint="compile one with `mlcweb compile SOURCE`"
        )
    folded = {name.lower(): name for name in names}
    starts = [name for name in names if name.lower().startswith(path.name.lower())]
    near = starts or [folded[key] for key in get_close_matches(path.name.lower(), list(folded), 3, 0.6)]
    if near:
        hint = f"did you mean {', '.join(near)}?"
    elif names:
        hint = f"dist/ has {', '.join(names)}"
    else:
        hint = "compile one with `mlcweb compile SmolLM2-135M`; `mlcweb list` shows what there is"
    raise BundleError(f"no bundle at {value}", hint=hint)


bundle_argument = click.argument(
    "bundle", callback=lambda ctx, param, value: find_bundle(value), shell_complete=complete_bundle
)
bundles_argument = click.argument(
    "bundles",
    metavar="BUNDLE...",
    nargs=-1,
    required=True,
    callback=lambda ctx, param, values: tuple(find_bundle(value) for value in values),
    shell_complete=complete_bundle,
)
optional_bundles_argument = click.argument(
    "bundles",
    metavar="[BUNDLE...]",
    nargs=-1,
    callback=lambda ctx, param, values: tuple(find_bundle(value) for value in values),
    shell_complete=complete_bundle,
)
optional_bundle_argument = click.argument(
    "bundle",
    required=False,
    callback=lambda ctx, param, value: None if value is None else find_bundle(value),
    shell_complete=complete_bundle,
)
tier_option = click.option("--tier", type=click.Choice(TIERS), help="Run this tier; by default the best one.")
chromium_option = click.option(
    "--chromium", type=click.Path(dir_okay=False, path_type=Path), help="The Chrome or Chromium to run."
)
activations_option = click.option(
    "--activations",
    type=click.Choice(("float", "int8", "matrix")),
    help="What prefill computes with; by default the fastest on this GPU.",
)
