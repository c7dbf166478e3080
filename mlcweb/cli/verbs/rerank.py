"""``mlcweb rerank`` orders documents by how well they answer a query, in headless Chromium."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from mlcweb.cli.options import bundle_argument, chromium_option, tier_option, verb
from mlcweb.cli.output import Output


@verb("rerank")
@bundle_argument
@click.argument("query")
@click.argument("documents", metavar="DOCUMENT...", nargs=-1, required=True)
@click.option("--top", type=click.IntRange(1), help="Print only so many, the best.")
@click.option(
    "--instruction", help="What the query is for, of models that are told; by default the bundle's."
)
@click.option("--truncate", is_flag=True, help="Cut documents that are too long, instead of an error.")
@tier_option
@chromium_option
def command(
    output: Output,
    bundle: Path,
    query: str,
    documents: tuple[str, ...],
    top: int | None,
    instruction: str | None,
    truncate: bool,
    tier: str | None,
    chromium: Path | None,
) -> None:
    """Order documents by how well they answer a query.

    Prints each DOCUMENT's score, the best first. With --format json, prints the shape of Cohere's and Jina's APIs.

    \b
    Example:
      mlcweb rerank my-reranker-q8f16_1 "When did the war end?" "It ended in 1945." "It began in 1939."
    """
    from mlcweb.browser.session import LoadOptions, open_session

    request: dict[str, Any] = {"query": query, "documents": list(documents)}
    for name, value in (("top_n", top), ("instruction", instruction), ("truncate", truncate)):
        if value:
            request[name] = value
    with ExitStack() as stack, output.progress() as progress:
        session = stack.enter_context(open_session(bundle, chromium, progress))
        session.load(LoadOptions(tier), progress)
        answer = session.rerank(request, progress)

    def lines() -> None:
        for result in answer["results"]:
            output.line(f"{result['relevance_score']:8.4f}  {documents[result['index']]}")

    output.data(answer, lines)
