"""``mlcweb embed`` makes embeddings of texts, in headless Chromium."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from mlcweb.cli.options import bundle_argument, chromium_option, tier_option, verb
from mlcweb.cli.output import Output


@verb("embed")
@bundle_argument
@click.argument("texts", metavar="TEXT...", nargs=-1)
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take texts from this file too, in UTF-8, one a line.",
)
@click.option("--prompt-name", metavar="NAME", help="Write the model's prompt of this name before each text.")
@click.option("--dimensions", type=click.IntRange(1), help="Cut embeddings to so many numbers.")
@click.option(
    "--truncate", is_flag=True, help="Cut texts that are too long for the model, instead of an error."
)
@tier_option
@chromium_option
def command(
    output: Output,
    bundle: Path,
    texts: tuple[str, ...],
    file: Path | None,
    prompt_name: str | None,
    dimensions: int | None,
    truncate: bool,
    tier: str | None,
    chromium: Path | None,
) -> None:
    """Make embeddings of texts.

    For each TEXT, prints how near it is to the first, from -1 to 1 (the cosine). With --format json, prints the
    embeddings, in the shape of OpenAI's API.

    \b
    Example:
      mlcweb embed all-MiniLM-L6-v2-q8f16_1 "a small cat" "a kitten" "the stock market"
      mlcweb embed all-MiniLM-L6-v2-q8f16_1 --file sentences.txt --format json > embeddings.json
    """
    from mlcweb.browser.session import LoadOptions, open_session
    from mlcweb.errors import SourceError
    from mlcweb.evaluate.cosine import cosine

    wanted = list(texts)
    if file is not None:
        try:
            wanted += file.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise SourceError(f"{file}: is not UTF-8: {error}") from error
    if not wanted:
        raise click.UsageError("give a TEXT, or --file")
    request: dict[str, Any] = {"input": wanted}
    for name, value in (("prompt_name", prompt_name), ("dimensions", dimensions), ("truncate", truncate)):
        if value:
            request[name] = value
    with ExitStack() as stack, output.progress() as progress:
        session = stack.enter_context(open_session(bundle, chromium, progress))
        session.load(LoadOptions(tier), progress)
        answer = session.embed(request, progress)

    def lines() -> None:
        vectors = [item["embedding"] for item in answer["data"]]
        for text, vector in zip(wanted, vectors, strict=True):
            output.line(f"{cosine(vectors[0], vector):6.3f}  {text}")

    output.data(answer, lines)
    width, tokens = len(answer["data"][0]["embedding"]), answer["usage"]["prompt_tokens"]
    output.note(
        f"{len(wanted)} texts of {tokens} tokens together, {width} numbers each; --format json prints them"
    )
