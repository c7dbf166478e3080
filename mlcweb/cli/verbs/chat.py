"""``mlcweb chat`` lets a bundle answer in the terminal, from headless Chromium."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from mlcweb.cli.options import bundle_argument, chromium_option, tier_option, verb
from mlcweb.cli.output import Output


@verb("chat")
@bundle_argument
@click.argument("prompt", required=False)
@click.option(
    "--image",
    "images",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="A picture that the prompt is about; may be repeated.",
)
@click.option("--system", help="The system message.")
@click.option(
    "--temperature",
    type=click.FloatRange(0, 2),
    default=0.0,
    show_default=True,
    help="0 always takes the most likely token.",
)
@click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Sample from the likeliest tokens whose probabilities add up to this.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="The same seed gives the same answer.")
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    default=512,
    show_default=True,
    help="The most tokens of an answer.",
)
@tier_option
@chromium_option
def command(
    output: Output,
    bundle: Path,
    prompt: str | None,
    images: tuple[Path, ...],
    system: str | None,
    temperature: float,
    top_p: float,
    seed: int | None,
    max_tokens: int,
    tier: str | None,
    chromium: Path | None,
) -> None:
    """Ask a bundle, or talk to it.

    BUNDLE answers the PROMPT, about pictures (--image) if the model sees. Without a PROMPT you type one message after
    another: Ctrl-C stops an answer, and /help, /image, /reset and /exit are commands.

    \b
    Example:
      mlcweb chat SmolLM2-135M-Instruct-q4f32_1 "What is the capital of France?"
      mlcweb chat dist/SmolLM2-135M-Instruct-q4f32_1 --temperature 0.7 --seed 1
      mlcweb chat dist/SmolVLM-256M-Instruct-q4f16_1 "What is this?" --image cat.jpg
    """
    from mlcweb.browser.session import LoadOptions, open_session
    from mlcweb.cli.conversation import Conversation, one_answer

    if prompt is None and output.as_json:
        raise click.UsageError("--format json needs a PROMPT")
    options: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
    if seed is not None:
        options["seed"] = seed
    with ExitStack() as stack:
        with output.progress() as progress:
            session = stack.enter_context(open_session(bundle, chromium, progress))
            loaded = session.load(LoadOptions(tier), progress)
        conversation = Conversation(session, output, options, system)
        for path in images:
            conversation.show(path)
        if prompt is None:
            conversation.talk(loaded)
        else:
            one_answer(conversation, prompt, loaded)
