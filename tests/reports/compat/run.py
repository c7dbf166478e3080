"""``make compat``: WebLLM's examples, unedited, with mlcweb by the alias alone.

    python -m tests.reports.compat.run /path/to/web-llm/examples            all of them
    python -m tests.reports.compat.run /path/to/web-llm/examples streaming  those with these words in their name

For each example it says whether its TypeScript compiles with our types (tsc, strict or not; packages that are
not installed do not count), whether its scripts bundle (esbuild), and whether it runs: its page is opened in headless
Chromium, with a small bundle in place of every model that it asks for. Text is put into its fields, and its buttons
are pressed one after the other.

"runs" means that a model was loaded and answered, and that until nothing more happened there was no uncaught error and
no console.error. "loads" is the same without an answer. "stops" comes with the first error. What the answers say does
not count: the small model writes letters at random. A browser extension's page is opened as a plain page, which can
reach no extension.

``--install`` fetches the packages that an example names, beside WebLLM's, with npm, into a folder that is gone
afterwards. Without it only those in the example's own node_modules are found.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from mlcweb.browser.page import open_page
from mlcweb.cli.output import Output
from tests.reports.compat.drive import answer_hub, run_example
from tests.reports.compat.folder import DIST, Example, bundle, check_types, fetch_packages, find_examples
from tests.reports.compat.model import write_model
from tests.reports.compat.site import CompatSite


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("examples", type=Path, help="the folder examples/ of a checkout of WebLLM")
    parser.add_argument("words", nargs="*", help="only examples with all of these in their name")
    parser.add_argument("--install", action="store_true", help="fetch the examples' other packages with npm")
    parser.add_argument("--seconds", type=float, default=60, help="the most that an example may take (60)")
    options = parser.parse_args()
    if not options.examples.is_dir():
        parser.error(f"{options.examples} is no folder; give web-llm/examples of a checkout of WebLLM")
    if not (DIST / "root.js").is_file():
        parser.error("the engine is not built: run `make engine`")
    examples = [
        one
        for one in find_examples(options.examples.resolve())
        if all(word in one.name for word in options.words)
    ]
    output = Output()
    with tempfile.TemporaryDirectory(prefix="mlcweb-compat-") as scratch:
        for example in examples:
            _prepare(example, Path(scratch), install=options.install)
        with CompatSite(write_model(Path(scratch, "model"))) as site:
            for example in examples:
                if not example.built or example.bundle:
                    example.runs = "stops"
                    continue
                # a browser of its own: no example finds what another kept
                with open_page(hold_signals=False) as page:
                    answer_hub(page.context, site)
                    run_example(page.context, site, example, options.seconds)
    output.table(["EXAMPLE", "TYPES", "BUNDLES", "RUNS", "FIRST ERROR"], [_row(one) for one in examples])
    output.note(
        f"of {len(examples)}: types {sum(one.types in ('', 'no TypeScript') for one in examples)}, "
        f"bundle {sum(not one.bundle for one in examples)}, run {sum(one.runs == 'runs' for one in examples)}"
    )
    return 0


def _prepare(example: Example, scratch: Path, *, install: bool) -> None:
    folder = scratch / example.name
    folder.mkdir(parents=True)
    packages = fetch_packages(example, folder / "packages") if install else None
    check_types(example, folder)
    bundle(example, folder, packages)


def _row(example: Example) -> list[str]:
    types = {"": "yes", "no TypeScript": "-"}.get(example.types, "no")
    problems = [example.types if types == "no" else "", example.bundle, example.error]
    said = next((text for text in problems if text), "")
    return [example.name, types, "no" if example.bundle else "yes", example.runs, said[:110]]


if __name__ == "__main__":
    sys.exit(main())
