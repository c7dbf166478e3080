"""Decides how a bundle's scales are chosen: by MLC's rule, or calibrated, the default where that changes anything."""

from __future__ import annotations

from mlcweb.calibrate import FEWEST_TOKENS, Text, calibrate, own_text, read_text
from mlcweb.compile.job import Job
from mlcweb.compile.request import CompileRequest
from mlcweb.errors import SourceError, UnsupportedError
from mlcweb.progress import Progress
from mlcweb.quantize import Scheme
from mlcweb.quantize.searched import Calibration
from mlcweb.reference.prompt import PromptRenderer

SCALES = ("calibrated", "mlc")


def check_scales(request: CompileRequest) -> Text | None:
    """The user's text. Raises UnsupportedError for options that contradict each other, SourceError for the text."""
    if request.scales not in (None, *SCALES):
        raise UnsupportedError(f"--scales {request.scales} is not known", hint=f"Give {' or '.join(SCALES)}.")
    if request.calibrate is None:
        return None
    if request.scales == "mlc":
        raise UnsupportedError(
            "--scales mlc uses no text, but --calibrate gives one", hint="Leave out one of the two."
        )
    return read_text(request.calibrate)


def calibration(
    request: CompileRequest, given: Text | None, scheme: Scheme, renderer: PromptRenderer, vocabulary: int
) -> Text | None:
    """The text that the job calibrates on, None where scales are MLC's or there are none.

    Raises UnsupportedError where a calibration was asked for that changes nothing, SourceError for too short a text.
    """
    if not scheme.searched:
        asked = "--calibrate" if given else "--scales calibrated" if request.scales == "calibrated" else ""
        if asked:
            raise UnsupportedError(
                f"{asked} is for weights that are rounded to fewer than 8 bits, and {scheme.name} has none",
                hint=f"Leave it out, or give --quant q4{'f32' if scheme.activation == 'float32' else 'f16'}_1.",
            )
        return None
    if request.scales == "mlc":
        return None
    text = given or own_text()
    count = len(text_tokens(text, renderer, vocabulary))
    if given and count < FEWEST_TOKENS:
        raise SourceError(
            f"{request.calibrate}: has {count} tokens of this model, and a calibration needs {FEWEST_TOKENS}",
            hint="Give a longer text, or leave out --calibrate: mlcweb has a text of its own.",
        )
    return text


def text_tokens(text: Text, renderer: PromptRenderer, vocabulary: int) -> list[int]:
    """The text's tokens, without special ones, as far as the model has them."""
    return [token for token in renderer.text(text.content)[0] if token < vocabulary]


def calibrated(job: Job, text: Text, progress: Progress) -> Calibration:
    """What the job's calibration finds."""
    tokens = text_tokens(text, job.renderer, job.config.vocab_size)
    start = job.prompt_tokens
    return calibrate(
        job.checkpoint, job.reference_model, job.scheme, tokens, job.context, start=start, progress=progress
    )
