"""``make families``: how far each family's logits are from transformers', in a browser, by quantization.

The tiny models of tests/fixtures/models are compiled, loaded and fed, as tests/browser/test_families.py does. An
entry is the largest difference at any of 56 positions, in parts of that position's range of logits; ``!`` after it
says that another token was chosen.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from mlcweb.browser.find import find_chromium
from mlcweb.models import ARCHITECTURES
from tests.fixtures.models.case import SCHEMES
from tests.fixtures.models.cases import BY_NAME
from tests.fixtures.models.expected import load
from tests.support.browser.families import measured


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(BY_NAME)} (all)")
    parser.add_argument("--tier", default="software", help="the tier to run (software)")
    parser.add_argument("--processes", type=int, default=2, help="browsers at a time (2)")
    parser.add_argument("--chromium", type=Path, help="the browser (MLCWEB_CHROMIUM, or the one installed)")
    args = parser.parse_args()
    unknown = [name for name in args.cases if name not in BY_NAME]
    if unknown:
        parser.error(f"no case is called {unknown[0]}")
    return args


def main() -> int:
    args = arguments()
    names = [name for name in args.cases or BY_NAME if BY_NAME[name].text_architecture in ARCHITECTURES]
    wanted = [(name, scheme) for name in names for scheme in SCHEMES]
    failed = False
    print(f"| model | architecture | {' | '.join(SCHEMES)} |")
    print(f"|---|---|{'---|' * len(SCHEMES)}")
    with (
        tempfile.TemporaryDirectory() as folder,
        measured(
            wanted, args.chromium or find_chromium(), Path(folder), tier=args.tier, processes=args.processes
        ) as results,
    ):
        for name in names:
            row = []
            for scheme in SCHEMES:
                try:
                    result = results[name, scheme].result()
                except Exception as error:  # whatever it is, the other models' numbers are worth having
                    print(f"{name} {scheme}: {error}", file=sys.stderr)
                    row.append("failed")
                    failed = True
                    continue
                right = result.greedy == load(BY_NAME[name], scheme).greedy
                failed |= not right
                row.append(f"{result.error:.1e}{'' if right else ' !'}")
            print(f"| {name} | {BY_NAME[name].architecture} | {' | '.join(row)} |", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
