"""Passes messages back and forth: one answer, or a conversation at a prompt."""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlcweb.browser.session import Session
from mlcweb.cli.output import Output
from mlcweb.errors import MlcwebError, SourceError
from mlcweb.numbers import rate, seconds

HELP = """/help        shows this
/image FILE  shows the model a picture, with the next message
/reset       forgets the conversation
/exit        leaves (so does Ctrl-D)
Ctrl-C       stops an answer"""
_LARGEST_PICTURE = 64 << 20


class Conversation:
    """The messages so far and the engine that answers them."""

    def __init__(
        self, session: Session, output: Output, options: Mapping[str, Any], system: str | None
    ) -> None:
        self.session = session
        self.output = output
        self.options = dict(options)
        self.first = [{"role": "system", "content": system}] if system else []
        self.messages = list(self.first)
        self.pictures: list[dict[str, Any]] = []

    def show(self, path: Path) -> None:
        """Send a picture with the next message. Raises SourceError for a file that cannot be read, or is too large."""
        try:
            if path.stat().st_size > _LARGEST_PICTURE:
                raise SourceError(
                    f"{path}: is more than {_LARGEST_PICTURE >> 20} MiB, too large for a picture"
                )
            data = base64.b64encode(path.read_bytes()).decode()
        except OSError as error:
            raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
        # the browser sees what kind of picture it is
        self.pictures.append({"type": "image_url", "image_url": {"url": f"data:;base64,{data}"}})

    def ask(self, text: str) -> dict[str, Any]:
        """The engine's result, its text streamed to the output as it comes."""
        content: Any = [*self.pictures, {"type": "text", "text": text}] if self.pictures else text
        question = {"role": "user", "content": content}
        result = self.session.chat([*self.messages, question], self.options, self.output.stream)
        self.output.line()
        self.pictures = []
        self.messages += [question, {"role": "assistant", "content": result["text"]}]
        return result

    def talk(self, loaded: Mapping[str, Any]) -> None:
        """Read lines until /exit or the end of input."""
        self.output.note(load_line(loaded))
        interactive = sys.stdin.isatty()
        if interactive:
            import readline  # noqa: F401  (line editing and history for input())

            self.output.note("/help shows the commands")
        while (line := self._read("> " if interactive else "")) is not None:
            if line == "/help":
                self.output.note(HELP)
            elif line == "/reset":
                self.messages, self.pictures = list(self.first), []
                self.output.note("forgotten")
            elif line.startswith("/image "):
                self._show(Path(line.removeprefix("/image ").strip()).expanduser())
            elif line in ("/exit", "/quit"):
                break
            elif line.startswith("/"):
                self.output.note(f"no such command: {line}; /help shows them")
            elif line:
                self.output.note(answer_line(self.ask(line)))

    def _show(self, path: Path) -> None:
        try:
            self.show(path)
            self.output.note(f"{path.name} goes with the next message")
        except MlcwebError as error:
            self.output.note(f"error: {error}")

    def _read(self, prompt: str) -> str | None:
        """A line without its blanks; None at the end. Ctrl-C clears the line, as in a shell."""
        while True:
            try:
                with self.session.page.interrupts.at_once():
                    return input(prompt).strip()
            except EOFError:
                return None
            except KeyboardInterrupt:
                self.output.note("\n/exit leaves")


def one_answer(conversation: Conversation, prompt: str, loaded: Mapping[str, Any]) -> None:
    """Ask once; a stopped answer counts as interrupted."""
    result = conversation.ask(prompt)
    timings, extra = loaded["timings"], result["usage"]["extra"]
    document = {
        "answer": result["text"],
        "finish_reason": result["finish_reason"],
        "usage": result["usage"],
        "bundle": loaded["name"],
        "tier": loaded["tier"],
        "load_seconds": timings["total_s"],
        "prefill_tokens_per_second": extra["prefill_tokens_per_s"],
        "decode_tokens_per_second": extra["decode_tokens_per_s"],
    }
    conversation.output.data(document)
    conversation.output.note(f"{load_line(loaded)} · {answer_line(result)}")
    if result["finish_reason"] == "abort":
        raise KeyboardInterrupt


def load_line(loaded: Mapping[str, Any]) -> str:
    """``loaded in 2.1 s (tier subgroups)``."""
    return f"loaded in {seconds(loaded['timings']['total_s'])} (tier {loaded['tier']})"


def answer_line(result: Mapping[str, Any]) -> str:
    """``prefill 36 tokens at 20.1 tok/s · decode 8 tokens at 3.0 tok/s``; reused tokens cost no prefill."""
    usage = result["usage"]
    extra = usage["extra"]
    fresh = usage["prompt_tokens"] - extra["cached_prompt_tokens"]
    prefill = f"prefill {fresh} tokens at {rate(extra['prefill_tokens_per_s'])}"
    return f"{prefill} · decode {usage['completion_tokens']} tokens at {rate(extra['decode_tokens_per_s'])}"
