"""docs/debugging.md shows what its commands print; those that need a browser are in tests/browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.debugging_page import PAGE, Step, replay, stable, steps, written

STEPS = steps(PAGE.read_text(encoding="utf-8"))


def without_browser(step: Step) -> Step:
    """The step without its lines that validate."""
    commands = [line for line in step.commands.splitlines() if not line.startswith("mlcweb validate")]
    return Step("\n".join(commands), step.printed)


@pytest.mark.slow
def test_what_the_page_shows_is_what_its_commands_print() -> None:
    assert sum(step.in_browser for step in STEPS) == 3 and all(step.printed for step in STEPS)
    printed = replay([without_browser(step) for step in STEPS])
    for step, now in zip(STEPS, printed, strict=True):
        if not step.in_browser:
            assert stable(now) == stable(step.printed), step.commands


def test_a_page_that_is_not_current_is_seen() -> None:
    page = "```sh\necho 1\n```\n\n```text\n1\n```\n\n```sh\nexit\n```\n"
    (step,) = steps(page)
    assert step == Step("echo 1\n", "1\n") and not step.in_browser
    assert replay([Step("echo 2", ""), Step("echo $0 | wc -l; test -d mlcweb", "")]) == ["2\n", "1\n"]
    assert written(page, ["2\n"]) == page.replace("text\n1\n", "text\n2\n")


def test_what_varies_is_left_out() -> None:
    assert stable("   8.132 mlcweb.x: a took 1.5 s\n") == stable(" 12.000 mlcweb.x: a took 20.25 s\n")
    said = "error: tier base on {}: a logit differs by {} of its range; off from step 1"
    assert stable(said.format("SwiftShader", "1.23e-01")) == stable(said.format("lavapipe 2", "9.87e-02"))
    assert stable("off from step 1") != stable("off from step 2")


def test_the_clone_is_apart(tmp_path: Path) -> None:
    source = Path(__file__).resolve().parents[2] / "mlcweb" / "kernels" / "products" / "matvec.py"
    before = source.read_text()
    replay([Step(STEPS[0].commands.splitlines()[1], "")])
    assert source.read_text() == before and "self.blocks - self.tid" in before
